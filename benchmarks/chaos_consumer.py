"""An MES as a process of its own: writes down every event once, whenever it or the station dies. A part of `chaos.py`.

    python benchmarks/chaos_consumer.py LIVE_ADDRESS SYNC_ADDRESS OUTBOX DIRECTORY

Its log is its cursor: events.jsonl has a line for each event, with its place in the stream, and a new process goes on
behind the last whole one.
"""

import json
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import msgspec

from edge import events

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
    """Cut a line that was not finished; the sequence number of the last that was."""
    if not log.exists():
        return 0
    data = log.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with log.open("r+b") as file:
            file.truncate(len(whole))
    lines = whole.splitlines()
    return json.loads(lines[-1])["sequence"] if lines else 0


def read(outbox, last):
    with closing(sqlite3.connect(f"file:{outbox}?mode=ro", uri=True, timeout=5)) as database:
        rows = database.execute("SELECT body FROM events WHERE sequence > ? ORDER BY sequence LIMIT 500", (last,))
        return [events.decode(body) for (body,) in rows]


def main():
    _, _, outbox, directory = sys.argv[1:]
    log = Path(directory, "events.jsonl")
    last = resume(log)
    with log.open("ab", buffering=0) as file:
        while True:
            try:
                news = read(outbox, last)
            except sqlite3.OperationalError:
                news = []
            for event in news:
                line = line_of(event, time.time())
                file.write(msgspec.json.encode(line) + b"\n")
                last = line["sequence"]
            if not news:
                time.sleep(0.1)


if __name__ == "__main__":
    main()
