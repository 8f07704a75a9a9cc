"""How long after a decision an OPC UA client and an MQTT subscriber have it.

    python benchmarks/lanes.py [--json] [--count 300]

Real processes: publish, SYNC and the lanes; the decisions are the tests'. OPC UA is heard by asyncua's client at a
publishing interval of 10 ms, MQTT by mosquitto_sub. From an event's `decided` to the client having it, one machine.

A lane whose extra (`opcua`, `mqtt`), or for MQTT Debian's mosquitto and mosquitto-clients, is not there has a row that says
what is missing.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import structlog
import zmq
from command_line import Parser, at_least, cannot, run, without, without_module, without_tests

if lacking := without_tests():
    cannot(f"needs {lacking}")

from edge.rehearsal import free_ports
from tests.lanes.mqtt_bench import Listener, Mosquitto, MqttLane, killed_at_the_end, wait_for
from tests.lanes.opcua_bench import decided, publishing
from tests.sync_line import SyncLine

PERIOD_S = 0.02
INTERVAL_MS = 10


def figures(name, delays_ms):
    ordered = sorted(delays_ms)
    return {
        "lane": name,
        "events": len(ordered),
        "p50_ms": round(statistics.median(ordered), 2),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)], 2),
    }


def opcua(folder, count):
    (port,) = free_ports(1)
    with publishing(folder, {"opcua": {"listen": f"127.0.0.1:{port}"}}) as publish:
        publish.start()
        publish.wait_until_up()
        delays = asyncio.run(_hear(f"opc.tcp://127.0.0.1:{port}/goldline", publish, count))
    return figures("opcua", delays)


async def _hear(url, publish, count):
    from asyncua import Client  # noqa: PLC0415 - an extra that may not be there

    delays, everything = [], asyncio.Event()

    class Handler:
        def event_notification(self, event):
            delays.append((datetime.now(UTC) - event.Time).total_seconds() * 1000)
            if len(delays) == count:
                everything.set()

    async with Client(url) as client:
        await client.load_data_type_definitions()
        space = await client.get_namespace_index("urn:goldline:vision")
        companion = await client.get_namespace_index("http://opcfoundation.org/UA/MachineVision")
        subscription = await client.create_subscription(INTERVAL_MS, Handler())
        kind = client.get_node(f"ns={companion};i=1024")
        await subscription.subscribe_events(client.get_node(f"ns={space};s=VisionSystem"), kind)
        # What is repeated at the beginning is over.
        await asyncio.sleep(1)
        for number in range(1, count + 1):
            publish.decide(decided(number))
            await asyncio.sleep(PERIOD_S)
        async with asyncio.timeout(60):
            await everything.wait()
    return delays


def mqtt(folder, count):
    (port,) = free_ports(1)
    context = zmq.Context()
    line = SyncLine(folder, context, lanes={"mqtt": {"broker": f"mqtt://127.0.0.1:{port}", "topic": "plant"}})
    broker = Mosquitto(folder / "broker", port, "allow_anonymous true")
    broker.start()
    listener, lane = Listener(port, "plant/left/result"), MqttLane(line.station)
    with killed_at_the_end(lane, listener, broker):
        lane.begin(line)
        line.say(1)
        wait_for(listener, "plant/left/result", 1)
        for _ in range(count):
            line.say(1)
            time.sleep(PERIOD_S)
        wait_for(listener, "plant/left/result", count + 1)
    line.kill_all()
    context.destroy(linger=0)
    heard = list(zip(listener.at, listener.heard, strict=False))[1:]
    return figures("mqtt", [(at - _decided(body)) * 1000 for at, (_, body) in heard])


def _decided(body):
    return datetime.fromisoformat(json.loads(body)["data"]["decided"]).timestamp()


def main():
    parser = Parser(__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--count", type=at_least(1), default=300)
    arguments = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    broker = without("mosquitto", "mosquitto") or without("mosquitto_sub", "mosquitto-clients")
    missing = {opcua: without_module("asyncua", "opcua"), mqtt: broker or without_module("paho", "mqtt")}
    rows = []
    for measure, lacking in missing.items():
        if lacking:
            rows.append({"lane": measure.__name__, "missing": lacking})
            print(f"{measure.__name__}: not measured, needs {lacking}", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(Path(folder), arguments.count))
    if arguments.json:
        print(json.dumps({"lanes": rows}))
    measured = [row for row in rows if "missing" not in row]
    if not measured:
        cannot("nothing could be measured")
    for row in () if arguments.json else measured:
        print("{lane:6} {events} events: p50 {p50_ms} ms, p99 {p99_ms} ms".format(**row))


if __name__ == "__main__":
    run(main)
