"""Inside the virtual machine of `power_cut.py`: the station's own outbox on a disk whose power is cut at any moment.

P                       it runs
K integrity low head    what SQLite says of the file, and what it holds
V sequence checksum     each event that it holds
B first last            a block of trigger ids was reserved
A sequence checksum     this event is on disk: from here on a subscriber may have it
"""

import sys
import uuid
from pathlib import Path
from zlib import crc32

from edge import announce, events
from edge.events import Source
from edge.header import Flag
from edge.ledger import Decision, View
from edge.outbox import BLOCK_IDS, Draft, Outbox, Stored
from edge.records import Outcome, Trigger, Verdict

SOURCE = Source(site="-", line="-", station="s1")
# What is kept: enough that pruning goes on all the time, beside commits.
KEPT_EVENTS = 400
BATCHES = (1, 3, 8, 1, 20)


def draft(trigger_id: int) -> Draft:
    trigger = Trigger(
        trigger_id=trigger_id, camera="left", source="free", opened_ns=1, opened_utc_ns=1, deadline_ns=2_000_000_000
    )
    verdict = Verdict(outcome=Outcome.FAIL, detail="x" * (trigger_id * 37 % 1500))
    decision = Decision(trigger=trigger, verdict=verdict, views={"left": View(verdict=verdict)}, decided_ns=2)
    event = announce.result_event(SOURCE, decision, is_simulated=False)
    return Draft(topic=SOURCE.topic("left", "result"), flags=Flag.DURABLE, verdict_utc_ns=1, event=event)


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def checksum(stored: Stored) -> int:
    return crc32(stored.header + stored.body)


def look(outbox: Outbox) -> None:
    (integrity,) = outbox._db.execute("PRAGMA integrity_check").fetchone()
    say("K", integrity.replace(" ", "_"), outbox.low, outbox.head)
    for stored in outbox.read(1, 1_000_000):
        events.decode(stored.body)
        say("V", stored.sequence, checksum(stored))
    say("W", outbox.aside_name or "-")


def run(path: Path, synchronous: str) -> None:
    with Outbox(path, "run") as outbox:
        look(outbox)
        outbox._db.execute(f"PRAGMA synchronous = {synchronous}")
        number = last = 0
        while True:
            for size in BATCHES:
                if number + size > last:
                    number, last = outbox.reserve("left", uuid.UUID(int=1))
                    assert last - number + 1 == BLOCK_IDS
                    say("B", number, last)
                for stored in outbox.commit([draft(number + place) for place in range(size)], {"mes": outbox.head}):
                    say("A", stored.sequence, checksum(stored))
                number += size
            if outbox.head - outbox.low > KEPT_EVENTS:
                outbox.prune(outbox.low + 63)


if __name__ == "__main__":
    say("P")
    run(Path(sys.argv[1]), sys.argv[2])
