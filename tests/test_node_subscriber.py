"""Another language reads the station by its documented protocol alone, over deaths of every process."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.needs import needs_node
from tests.publish_line import PATIENCE_S, until
from tests.sync_line import SyncLine, keyed, sync_lines

PROGRAM = Path(__file__).with_name("node") / "subscriber.mjs"


@contextmanager
def reading(line: SyncLine, count: int, output: Path, *secrets: str) -> Iterator[subprocess.Popen]:
    command = [needs_node("zeromq"), PROGRAM, line.addresses["live"], line.addresses["sync"], str(count), *secrets]
    with output.open("wb") as file, subprocess.Popen([str(word) for word in command], stdout=file) as node:
        try:
            yield node
        finally:
            node.kill()


def heard(output: Path) -> list[int]:
    return [int(row.split()[0]) for row in output.read_text().splitlines()]


def live_through_deaths(line: SyncLine, output: Path, *secrets: str) -> None:
    """200 events before it comes, 100 while it listens, and as many over a death of publish and of SYNC each."""
    line.fill(200)
    line.start_both()
    with reading(line, 500, output, *secrets) as node:
        line.say(100)
        until(lambda: len(heard(output)) >= 250, "it has caught up")
        line.kill()
        line.start()
        line.link_both()
        line.capture("left")
        line.link("inspection")
        line.say(100)
        line.kill_sync()
        line.say(100)
        line.start_sync()
        assert node.wait(PATIENCE_S * 2) == 0
    assert heard(output) == list(range(1, 501))
    until(lambda: line.acknowledged() == {"node": 500}, "it is acknowledged")


def test_every_event_once_in_order_over_deaths(tmp_path):
    needs_node("zeromq")
    with sync_lines(tmp_path) as line:
        live_through_deaths(line, tmp_path / "heard")


def test_with_keys_as_well(tmp_path):
    needs_node("zeromq")
    with keyed(tmp_path) as line:
        keys = line.admit("node")
        line.listen_with(line.admit("test"))
        live_through_deaths(line, tmp_path / "heard", keys.server_public, keys.public, keys.secret)
