"""An MES as a process of its own: writes down every event once, whenever it or the station dies. A part of `chaos.py`.

    python benchmarks/chaos_consumer.py LIVE_ADDRESS SYNC_ADDRESS DIRECTORY

Its log is its cursor: events.jsonl has a line for each event, with its place in the stream, and a new process goes on
behind the last whole one. What is said to be gone is written down as well: notices.jsonl.
"""

import json
import sys
import time
from pathlib import Path

import msgspec

from edge.client import Cursor, Notify, Subscriber

# Written down in this many at a time, and then acknowledged.
ACKNOWLEDGED_EVERY = 50
FIELDS = ("trigger_id", "camera", "verdict", "reason", "detail", "on_time", "frame_id", "unit_identifier", "score")


def line_of(event, received_s):
    """What the log keeps of an event."""
    stream, _, sequence = event.id.partition("/")
    result = event.data
    kept = {name: getattr(result, name) for name in FIELDS}
    times = {
        "triggered": None if result.triggered is None else result.triggered.timestamp(),
        "captured": None if result.captured is None else result.captured.timestamp(),
        "decided": result.decided.timestamp(),
        "received": received_s,
    }
    return {"sequence": int(sequence), "stream": stream, **kept, **times}


def resume(log):
    """Cut a line that was not finished; the place of the last that was."""
    data = log.read_bytes() if log.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with log.open("r+b") as file:
            file.truncate(len(whole))
    lines = whole.splitlines()
    return Cursor.parse("{stream}/{sequence}".format_map(json.loads(lines[-1])) if lines else "0")


def main():
    live, sync, directory = sys.argv[1:]
    log = Path(directory, "events.jsonl")
    after = resume(log)
    with log.open("ab", buffering=0) as file, Path(directory, "notices.jsonl").open("a", buffering=1) as notices:
        note = lambda item: notices.write(f"{item}\n")  # noqa: E731
        notify = Notify(gone=note, new_stream=note)
        with Subscriber(live=live, sync=sync, consumer="mes", after=after, notify=notify) as subscriber:
            for count, event in enumerate(subscriber):
                file.write(msgspec.json.encode(line_of(event, time.time())) + b"\n")
                if count % ACKNOWLEDGED_EVERY == 0:
                    subscriber.acknowledge(event)


if __name__ == "__main__":
    main()
