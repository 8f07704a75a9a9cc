"""The real station: its supervisor starts SYNC, brings it back, and links it to publish each time."""

import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge import rehearsal
from edge.client import Subscriber
from tests.publish_line import until
from tests.stations import CAMERA, assert_each_answered_once, running, station


def acknowledged(config: Path) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(f"file:{config.parent / 'state' / 'outbox.sqlite3'}?mode=ro", uri=True)) as outbox:
        return outbox.execute("SELECT name, upto FROM consumers").fetchall()


@pytest.mark.slow
def test_history_is_there_after_a_death_of_sync_and_acknowledgements_are_kept(taught: Path, tmp_path: Path) -> None:
    config = station(taught, tmp_path, {"left": CAMERA})
    with running(config) as (daemon, listener):
        listener.wait_for(20)
        os.kill(daemon.workers()["sync"], signal.SIGKILL)
        until(lambda: daemon.total("goldline_worker_restarts_total", worker="sync", cause="signal"), "SYNC is back")
        addresses = rehearsal.settings(config)["events"]
        reader = Subscriber(live=addresses["live"], sync=addresses["sync"], after=0, consumer="mes", silence_s=60.0)
        with reader as events:
            heard = []
            for event in events:
                heard.append(int(event.sequence))
                if len(heard) == 40:
                    events.acknowledge(event)
                    break
        assert heard == list(range(1, 41))
        until(lambda: dict(acknowledged(config)).get("mes", 0) == 40, "it is written down")
        assert daemon.total("goldline_sync_events_total") >= 20
    assert_each_answered_once(config, listener)
