"""The station on a GigE Vision camera: every trigger and every pulse one event, verdicts as offline."""

import json
import shutil
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from edge import client, rehearsal
from edge.cameras import scene
from edge.cameras.fake_pictures import CODES, encode
from edge.images import as_bgr, list_images, read_image
from tests.cameras.fake_bench import told_camera
from tests.cameras.gige_bench import OWN, network, own_camera
from tests.needs import needs_data
from tests.stations import RECIPE, Listener, assert_balanced, assert_each_answered_once, teach, write_recipe

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
    """The biscuits: every third of those to teach and of those to judge."""
    data = needs_data("cookies")
    good, shown = directory / "good", directory / "shown"
    for folder, paths in ((good, (data / "train" / "good").glob("*")), (shown, (data / "test").glob("*/*"))):
        folder.mkdir()
        for path in sorted(paths)[::3]:
            shutil.copy(path, folder / f"{path.parent.name}-{path.name}")
    write_recipe(directory, RECIPE, PRODUCT)
    return good, shown


@pytest.mark.parametrize("source", [drawn, photographs])
def test_every_trigger_has_one_event_and_verdicts_equal_those_of_inspect(source, tmp_path: Path) -> None:
    good, shown = source(tmp_path)
    config = rehearsal.write_config(tmp_path, {"left": CAMERA}, product=PRODUCT)
    teach(config, PRODUCT, good)
    files = list_images(shown)
    inspected = rehearsal.goldline("inspect", PRODUCT, "--json", "--config", config, *files)
    offline = [json.loads(line) for line in inspected.stdout.splitlines()]
    command = rehearsal.settings(config)["events"]["command"]
    with network(), own_camera(shown, OWN, tmp_path / "served"), rehearsal.running(config) as daemon:
        listener = Listener(config)
        assert listener.joined.wait(60)
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


@pytest.mark.parametrize("pixel_format", ["Mono12", "Mono12p", "BayerRG8"])
def test_pixels_of_another_kind_are_judged_as_the_pictures_they_become(pixel_format: str, tmp_path: Path) -> None:
    good, shown = drawn(tmp_path)
    become = tmp_path / "become"
    for folder in (good, shown):
        for path in list_images(folder):
            picture = read_image(path)
            height, width = picture.shape[:2]
            seen = as_bgr(encode(picture, CODES[pixel_format]), width, height, pixel_format)
            (become / folder.name).mkdir(parents=True, exist_ok=True)
            rehearsal.write_picture(become / folder.name / path.name, seen)
    camera = CAMERA | {"features": {"PixelFormat": pixel_format}}
    config = rehearsal.write_config(tmp_path, {"left": camera}, product=PRODUCT)
    write_recipe(tmp_path, RECIPE, PRODUCT)
    teach(config, PRODUCT, become / good.name)
    files = list_images(become / shown.name)
    inspected = rehearsal.goldline("inspect", PRODUCT, "--json", "--config", config, *files)
    offline = [json.loads(line) for line in inspected.stdout.splitlines()]
    command = rehearsal.settings(config)["events"]["command"]
    with network(), own_camera(shown, OWN, tmp_path / "served"), rehearsal.running(config) as daemon:
        listener = Listener(config)
        assert listener.joined.wait(60)
        wait_for_camera(daemon)
        for _ in files:
            shoot(command, listener)
    for expected, event in zip(offline, listener.events, strict=True):
        assert str(event.data.verdict) == expected["verdict"], expected["image"]
        assert event.data.score == pytest.approx(expected["score"], abs=1e-3)
    assert {result["verdict"] for result in offline} == {"PASS", "FAIL"}


def test_200_pulses_on_the_line_are_200_verdicts(tmp_path: Path) -> None:
    good, shown = drawn(tmp_path)
    line = {"mode": "line", "counter": "Counter0", "deadline_ms": 5000.0}
    features = {"PixelFormat": "RGB8", "ExposureTime": 1000.0}
    camera = CAMERA | {"trigger": line, "features": features, "slots": 64}
    config = rehearsal.write_config(tmp_path, {"left": camera}, product=PRODUCT)
    teach(config, PRODUCT, good)
    with network(), told_camera(shown, OWN, tmp_path / "said") as told, rehearsal.running(config) as daemon:
        listener = Listener(config)
        assert listener.joined.wait(60)
        wait_for_camera(daemon)
        train = told.order("pulse 199 10", patience_s=120)
        # A machine that is too busy lets the camera miss some: their number comes with a picture after a pause.
        time.sleep(2.0)
        last = told.order("pulse")
        assert last["taken"] == 1
        listener.wait_for(200 - len(listener.events))
        assert daemon.total("goldline_triggers_total", camera="left") == 200
        until = time.monotonic() + 60
        while daemon.total("goldline_verdicts_total", camera="left") < 200:
            assert time.monotonic() < until
            time.sleep(0.05)
    results = [event.data for event in listener.events]
    missed = [result for result in results if result.reason is not None]
    pictured = [result for result in results if result.reason is None]
    assert {str(result.reason) for result in missed} <= {"overrun"}
    assert len(missed) == train["missed"]
    assert {result.trigger_source for result in results} == {"line"}
    frames = [result.frame_id for result in pictured]
    assert frames == list(range(frames[0], frames[0] + len(frames))), "in the order of the pulses, none left out"
    assert {str(result.verdict) for result in pictured} == {"PASS", "FAIL"}
    files = cycle(list_images(shown))
    assert [line["image"] for line in told.served()] == [str(next(files)) for _ in pictured]
    assert_each_answered_once(config, listener)


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
