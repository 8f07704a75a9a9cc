"""The station on a GigE Vision camera, software-triggered: every trigger one event, verdicts as offline."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from edge import client, rehearsal
from edge.cameras import scene
from edge.images import list_images
from tests.cameras.gige_bench import OWN, network, own_camera
from tests.needs import needs_data
from tests.stations import Listener, assert_balanced, assert_each_answered_once

pytestmark = pytest.mark.timeout(300)
PRODUCT = "part"
CAMERA = {
    "source": "gige",
    "address": OWN,
    "packet_size_bytes": 9000,
    "receive_buffer_bytes": 4 << 20,
    "trigger": {"mode": "software", "deadline_ms": 5000.0},
    "features": {"PixelFormat": "RGB8"},
}


def drawn(directory: Path) -> tuple[Path, Path]:
    """Good parts to teach, and a folder of good and deviating ones to judge."""
    rehearsal.draw_good_parts(directory / "good", 12, (320, 240))
    rehearsal.draw_good_parts(directory / "shown", 4, (320, 240), seed=2)
    generator = np.random.default_rng(3)
    for kind in scene.DEVIATIONS:
        picture = scene.render(kind, generator, (320, 240))[0]
        rehearsal.write_picture(directory / "shown" / f"{kind}.png", picture)
    return directory / "good", directory / "shown"


def photographs(directory: Path) -> tuple[Path, Path]:
    """The biscuits: taught from the training photographs, shown every test photograph."""
    data = needs_data("cookies")
    shown = directory / "shown"
    shown.mkdir(parents=True)
    for path in sorted((data / "test").glob("*/*")):
        shutil.copy(path, shown / f"{path.parent.name}-{path.name}")
    return data / "train" / "good", shown


@pytest.mark.parametrize("source", [drawn, photographs])
def test_every_trigger_has_one_event_and_verdicts_equal_those_of_inspect(source, tmp_path: Path) -> None:
    good, shown = source(tmp_path)
    config = rehearsal.write_config(tmp_path, {"left": CAMERA}, product=PRODUCT)
    rehearsal.goldline("teach", PRODUCT, "--good", good, "--config", config)
    files = list_images(shown)
    inspected = rehearsal.goldline("inspect", PRODUCT, "--json", "--config", config, *files)
    offline = [json.loads(line) for line in inspected.stdout.splitlines()]
    command = rehearsal.settings(config)["events"]["command"]
    with network(), own_camera(shown, OWN, tmp_path / "served"), rehearsal.running(config) as daemon:
        listener = Listener(config)
        assert listener.joined.wait(10)
        wait_for_camera(daemon)
        accepted = [shoot(command, listener) for _ in files]
        assert_balanced(daemon)
    assert listener.ids() == accepted
    assert_each_answered_once(config, listener)
    served = [json.loads(line)["image"] for line in (tmp_path / "served").read_text().splitlines()]
    assert served == [str(path) for path in files]
    for expected, event in zip(offline, listener.events, strict=True):
        result = event.data
        assert (str(result.verdict), result.review) == (expected["verdict"], expected["review"]), expected["image"]
        assert result.score == pytest.approx(expected["score"], abs=1e-3)
        assert [list(defect.bbox) for defect in result.defects] == [defect["bbox"] for defect in expected["defects"]]
        assert result.closest_reference == expected["closest_reference"]
    assert {result["verdict"] for result in offline} == {"PASS", "FAIL"}


def wait_for_camera(daemon: rehearsal.Daemon) -> None:
    until = time.monotonic() + 60
    while daemon.total("goldline_camera_up") < 1:
        assert time.monotonic() < until, daemon.log.read_text()
        time.sleep(0.05)


def shoot(command: str, listener: Listener) -> int:
    """One trigger, and its event."""
    answer = client.ask(command, {"verb": "trigger", "camera": "left"})
    assert answer["accepted"], answer
    listener.wait_for(1)
    trigger_id: int = answer["trigger_id"]
    return trigger_id
