"""The fake GigE Vision camera of this project, seen through the station's own GigE Vision camera."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.cameras.fake_gige import main
from edge.images import as_bgr
from tests.cameras.gige_bench import (
    SPECIAL,
    opened,
    own_camera,
    pixels,
    settings,
    write_pictures,
)


def test_own_camera_serves_colour_bit_for_bit_and_answers_200_of_200_triggers(tmp_path: Path, stock: str) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    pictures = write_pictures(folder, count=7)
    got: list[tuple[int, int]] = []
    with own_camera(folder, SPECIAL, tmp_path / "served"), opened(settings(SPECIAL, features={}), "software") as bench:
        info = bench.info
        assert (info.width, info.height, info.pixel_format) == (96, 64, "RGB8")
        for index in range(200):
            bench.camera.trigger()
            frame = bench.wait()
            assert frame.complete
            picture = as_bgr(pixels(bench, frame), info.width, info.height, info.pixel_format)
            np.testing.assert_array_equal(picture, pictures[index % len(pictures)])
            got.append((frame.frame_id, index))
            bench.camera.release(frame.slot)
        assert bench.camera.next(0.1) is None
        stats = bench.camera.stats()
    assert (stats.frames, stats.incomplete, stats.lost) == (200, 0, 0)
    served = [json.loads(line) for line in (tmp_path / "served").read_text().splitlines()]
    assert [line["frame"] for line in served] == list(range(200))
    assert [line["image"] for line in served] == [str(folder / f"{index % 7:02}.png") for index in range(200)]
    assert [line["frame_id"] for line in served] == [(frame_id - 1) % 65_535 + 1 for frame_id, _index in got]


def test_own_camera_runs_freely_in_grey_and_in_parts(tmp_path: Path, stock: str) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    write_pictures(folder, count=2)
    options = ("--pixel-format", "Mono8", "--rate", "100")
    with own_camera(folder, SPECIAL, tmp_path / "served", *options) as running:
        with opened(settings(SPECIAL, features={})) as bench:
            assert (bench.info.width, bench.info.height, bench.info.pixel_format) == (96, 64, "Mono8")
            assert bench.info.period_s == pytest.approx(0.01)
            whole = {frame.frame_id % 2: pixels(bench, frame).copy() for frame in (bench.wait(), bench.wait())}
        with opened(settings(SPECIAL, features={"Width": 50, "Height": 30})) as bench:
            frame = bench.wait()
            part = whole[frame.frame_id % 2].reshape(64, 96)[:30, :50]
            np.testing.assert_array_equal(pixels(bench, frame).reshape(30, 50), part)
        running.send_signal(signal.SIGTERM)
        assert running.wait(5) == 0


def test_own_camera_says_in_a_line_why_it_cannot_serve(tmp_path: Path, stock: str) -> None:
    empty, mixed = tmp_path / "empty", tmp_path / "mixed"
    for folder in (empty, mixed):
        folder.mkdir()
    write_pictures(mixed, count=2)
    write_pictures(mixed, count=1, width=20)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    write_pictures(pictures, count=1)
    for folder, interface, said in (
        (empty, SPECIAL, "empty"),
        (mixed, SPECIAL, "01.png: 96 x 64 px; a camera has one size"),
        (pictures, stock, f"--interface {stock}: another camera answers there"),
        (pictures, "192.0.2.1", "--interface 192.0.2.1: not an address of this machine"),
    ):
        command = [sys.executable, "-m", "edge.cameras.fake_gige", "--interface", interface, "--folder", str(folder)]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=15)
        assert answer.returncode == 2
        assert said in answer.stderr
        assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--rate 0", "argument --rate: 0 Hz is outside 0.1 to 10000"),
        ("--rate fast", "argument --rate: invalid number value: 'fast'"),
        ("--serial 0123456789ABCDEF", "argument --serial: '0123456789ABCDEF' is not 1 to 15 bytes long"),
        ("--interface lo", "argument --interface: Expected 4 octets in 'lo'"),
        ("--pixel-format Mono9", "argument --pixel-format: invalid choice: 'Mono9'"),
        ("--views 0", "argument --views: 0 is outside 1 to 100"),
        ("--loss-per-thousand 1001", "argument --loss-per-thousand: 1001 packets is outside 0 to 1000"),
    ],
)
def test_what_it_is_asked_for_is_checked_before_it_serves(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--folder", "pictures", *words.split()])
    assert left.value.code == 2
    assert said in capsys.readouterr().err


def test_its_help_has_an_example_and_every_order(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    shown = capsys.readouterr().out
    assert left.value.code == 0
    assert "goldline camera fake --folder good" in shown
    for order in ("pulse", "freeze", "thaw", "stop", "go", "lose", "light"):
        assert order in shown.partition("orders")[2]
