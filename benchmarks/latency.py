"""From inspection's verdict to a subscriber, and from an order to its answer: over ipc, TCP, and TCP with keys (CURVE).

    python benchmarks/latency.py [--rounds 5] [--events 400] [--rate 100] [--json]

Of each station only publish is real: this process is its inspection and its capture, so that both times are of one clock.
The three stand side by side and take turns, event by event, in the same noise. Of each round the median and the 99th
percentile; of those the median over the rounds, and in brackets the least and the most.

verdict_ms   the verdict is sent to publish → the event is read by the subscriber: ledger, commit to disk, sending, CURVE
order_ms     the order `state` is sent → its answer is read
connect_ms   a new client: connection, CURVE handshake, the list of clients, and its first order's answer
"""

import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import structlog
import zmq

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' station of which only publish is real

from command_line import Parser, above_zero, at_least, cannot, run

from edge import header, key_files, session
from edge.keys import ClientKeys, load_station_key, new_pair
from edge.messages import Ids, WantIds
from edge.rehearsal import free_ports
from tests.publish_line import Line

KINDS = ("ipc", "tcp", "tcp+curve")
STATE = b'{"verb":"state"}'
PATIENCE_MS = 20_000
CONNECTS = 10


class Listener:
    """A SUB socket that says when it read which sequence number."""

    def __init__(self, context, address, keys):
        self.socket = session.connect(context, zmq.SUB, address, keys)
        self.head = None

    def hear(self, timeout_ms=0):
        """The sequence number of the next event; None for a heartbeat, or nothing."""
        if not self.socket.poll(timeout_ms):
            return None
        topic, head, _ = self.socket.recv_multipart()
        sequence = header.decode(head).sequence
        if b".result." in topic:
            return sequence
        self.head = sequence
        return None


class Bench:
    """One station, its subscriber and its client."""

    def __init__(self, folder, context, kind):
        ports = dict(zip(("live", "command"), free_ports(2), strict=True))
        addresses = {
            key: f"ipc://{folder}/{key}" if kind == "ipc" else f"tcp://127.0.0.1:{port}" for key, port in ports.items()
        }
        live, command = addresses["live"], addresses["command"]
        security = {"curve": "always" if kind == "tcp+curve" else "auto"}
        self.line = Line(folder, context, events=addresses, security=security, log={"level": "warning"})
        self.line.subscriber.socket.close()
        self.keys = self._keys() if kind == "tcp+curve" else None
        self.context, self.command = context, command
        self.line.subscriber = self.listener = Listener(context, live, self.keys)
        self.line.start()
        self.line.link("inspection")
        self.line.capture("left")
        self.dealer = session.connect(context, zmq.DEALER, command, self.keys)
        self.dealer.poll(PATIENCE_MS, zmq.POLLOUT)

    def _keys(self):
        folder = self.line.station.keys_dir
        key_files.new_station_key(folder, is_replaced=False)
        public, secret = new_pair()
        key_files.allow(folder, "bench", public, ("events", "orders"))
        return ClientKeys(server_public=load_station_key(folder).public, public=public, secret=secret)

    def _want_ids(self):
        log = self.line.logs["left"]
        while log.wants_ids:
            self.line.send("capture@left", WantIds())
            if isinstance(ids := self.line.hear("capture@left"), Ids):
                log.add_ids(ids.first, ids.last)

    def verdict_ms(self):
        self._want_ids()
        trigger = self.line.open()
        while self.listener.hear() is not None:
            pass
        began = time.perf_counter()
        self.line.judge(trigger.trigger_id)
        while self.listener.hear(PATIENCE_MS) is None:
            pass
        return (time.perf_counter() - began) * 1e3

    def order_ms(self, dealer=None):
        dealer = dealer or self.dealer
        began = time.perf_counter()
        dealer.send_multipart([b"", STATE])
        if not dealer.poll(PATIENCE_MS):
            cannot("no answer")
        dealer.recv_multipart()
        return (time.perf_counter() - began) * 1e3

    def connect_ms(self):
        began = time.perf_counter()
        with session.connect(self.context, zmq.DEALER, self.command, self.keys) as dealer:
            dealer.poll(PATIENCE_MS, zmq.POLLOUT)
            self.order_ms(dealer)
            return (time.perf_counter() - began) * 1e3

    def close(self):
        self.line.kill()
        for channel in self.line.peers.values():
            channel.close()


def measure(benches, rounds, events, rate):
    """Per kind and figure, a list of rounds; each a list of ms."""
    figures = {kind: {"verdict_ms": [], "order_ms": [], "connect_ms": []} for kind in benches}
    for _ in range(rounds):
        taken = {kind: {name: [] for name in figures[kind]} for kind in benches}
        for _ in range(events):
            due = time.perf_counter() + 1 / rate
            for kind, bench in benches.items():
                taken[kind]["verdict_ms"].append(bench.verdict_ms())
                taken[kind]["order_ms"].append(bench.order_ms())
            time.sleep(max(0.0, due - time.perf_counter()))
        for _ in range(CONNECTS):
            for kind, bench in benches.items():
                taken[kind]["connect_ms"].append(bench.connect_ms())
        for kind, names in taken.items():
            for name, values in names.items():
                figures[kind][name].append(values)
    return figures


def summed_up(rounds):
    """Median over the rounds of each round's quantile, the least and the most."""
    shares = {"p50": 0.5, "p99": 0.99} if len(rounds[0]) >= 100 else {"p50": 0.5}
    found = {}
    for name, share in shares.items():
        values = [sorted(one)[min(len(one) - 1, int(share * len(one)))] for one in rounds]
        found[name] = [round(value, 3) for value in (statistics.median(values), min(values), max(values))]
    return found


def main():
    parser = Parser(__doc__)
    parser.add_argument("--rounds", type=at_least(1), default=5)
    parser.add_argument("--events", type=at_least(1), default=400, help="of each kind in a round")
    parser.add_argument("--rate", type=above_zero, default=100.0, help="events a second of each kind")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    context = zmq.Context()
    with ExitStack() as stack:
        stack.callback(context.destroy, 0)
        benches = {}
        for kind in KINDS:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            benches[kind] = Bench(folder, context, kind)
            stack.callback(benches[kind].close)
        figures = measure(benches, arguments.rounds, arguments.events, arguments.rate)
    result = {kind: {name: summed_up(rounds) for name, rounds in names.items()} for kind, names in figures.items()}
    if arguments.json:
        print(json.dumps(result))
        return
    for kind, names in result.items():
        for name, quantiles in names.items():
            told = "  ".join(
                f"{share} {middle:7.3f} [{least:.3f}, {most:.3f}]" for share, (middle, least, most) in quantiles.items()
            )
            print(f"{kind:<10} {name:<11} {told}")


if __name__ == "__main__":
    run(main)
