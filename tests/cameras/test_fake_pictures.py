"""The pixels of the fake camera: every format holds the picture's 8 bits, whatever else it holds."""

from pathlib import Path

import numpy as np
import pytest

from edge.cameras.fake_pictures import CODES, FORMATS, Look, Pictures, encode
from edge.errors import GoldlineError
from edge.images import as_bgr, frame_bytes
from tests.cameras.gige_bench import write_pictures

WIDTH, HEIGHT = 51, 34
COLOURS = ("RGB8",)


def look(**changes) -> Look:
    values = {
        "picture": 0, "lit": True, "grain": None, "pixel_format": CODES["RGB8"], "x": 0, "y": 0,
        "width": WIDTH, "height": HEIGHT, "exposure_us": 10_000, "gain": 0,
    }  # fmt: skip
    return Look(**values | changes)


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, list[Path]]:
    write_pictures(tmp_path, count=3, width=WIDTH, height=HEIGHT)
    return tmp_path, sorted(tmp_path.glob("*.png"))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("width", [48, 51])
def test_every_format_is_read_back_as_the_picture_it_was_made_of(name: str, width: int) -> None:
    picture = np.random.default_rng(5).integers(0, 256, (HEIGHT, width, 3), dtype=np.uint8)
    grey = np.repeat(picture[..., 1:2], 3, axis=2)
    # Grey, so that a mosaic's missing colours are those it has.
    sent = encode(picture if name in COLOURS else grey, CODES[name])
    assert sent.dtype == np.uint8
    assert sent.size == frame_bytes(width, HEIGHT, name)
    read = as_bgr(sent, width, HEIGHT, name)
    if name.startswith("Bayer"):
        flat = encode(np.full((HEIGHT, width, 3), (30, 90, 200), np.uint8), CODES[name])
        assert (as_bgr(flat, width, HEIGHT, name) == (30, 90, 200)).all(), (
            "the mosaic's colours are where they are said"
        )
    else:
        np.testing.assert_array_equal(read, picture if name in COLOURS else grey)


def test_more_bits_fill_the_whole_scale() -> None:
    white = np.full((4, 4, 3), 255, np.uint8)
    for name, full in (("Mono10", 1023), ("Mono12", 4095), ("Mono16", 65_535), ("BayerRG12", 4095)):
        assert (encode(white, CODES[name]).view("<u2") == full).all()
    assert (encode(white, CODES["Mono12p"]) == 255).all()


def test_a_region_is_cut_out_of_the_picture(folder) -> None:
    _, paths = folder
    pictures = Pictures(paths, [], light_response=False)
    whole = pictures.bytes_of(look()).reshape(HEIGHT, WIDTH, 3)
    part = pictures.bytes_of(look(x=7, y=5, width=20, height=10)).reshape(10, 20, 3)
    np.testing.assert_array_equal(part, whole[5:15, 7:27])


def test_light_exposure_and_gain_change_the_brightness_only_where_asked(folder) -> None:
    _, paths = folder
    plain, answering = (Pictures(paths, [], light_response=response) for response in (False, True))
    usual = plain.bytes_of(look())
    np.testing.assert_array_equal(plain.bytes_of(look(exposure_us=100, gain=60)), usual)
    np.testing.assert_array_equal(answering.bytes_of(look()), usual)
    np.testing.assert_array_equal(answering.bytes_of(look(exposure_us=5_000)), (usual * 0.5 + 0.5).astype(np.uint8))
    assert answering.bytes_of(look(gain=60)).mean() > usual.mean() * 1.3
    dark = plain.bytes_of(look(lit=False))
    np.testing.assert_array_equal(dark, (usual * 0.25 + 0.5).astype(np.uint8))


def test_the_dark_folder_is_shown_while_the_light_is_off(folder, tmp_path: Path) -> None:
    _, paths = folder
    pictures = Pictures(paths[:2], paths[2:], light_response=False)
    third = Pictures(paths[2:], [], light_response=False).bytes_of(look())
    for index in range(2):
        np.testing.assert_array_equal(pictures.bytes_of(look(picture=index, lit=False)), third)
    assert not np.array_equal(pictures.bytes_of(look()), third)


def test_grain_changes_a_picture_by_one_level_and_never_the_same_way_twice_in_a_row(folder) -> None:
    _, paths = folder
    pictures = Pictures(paths, [], light_response=False)
    clean, even, odd = (pictures.bytes_of(look(grain=grain)).astype(int) for grain in (None, 0, 1))
    assert np.abs(even - clean).max() == np.abs(odd - clean).max() == 1
    assert (even != odd).mean() > 0.3


def test_what_is_prepared_stays_within_its_bound(folder, monkeypatch: pytest.MonkeyPatch) -> None:
    _, paths = folder
    frame = WIDTH * HEIGHT * 3
    monkeypatch.setattr("edge.cameras.fake_pictures._KEPT_BYTES", 3 * frame)
    pictures = Pictures(paths, [], light_response=True)
    first = pictures.bytes_of(look()).copy()
    for exposure_us in range(1000, 1010):
        pictures.bytes_of(look(exposure_us=exposure_us))
        assert sum(kept.nbytes for kept in pictures._ready.values()) == pictures._ready_bytes <= 3 * frame
    np.testing.assert_array_equal(pictures.bytes_of(look()), first)


def test_dark_pictures_of_another_size_are_refused(folder, tmp_path: Path) -> None:
    _, paths = folder
    (tmp_path / "other").mkdir()
    write_pictures(tmp_path / "other", count=1, width=20, height=10)
    with pytest.raises(GoldlineError, match=r"00\.png: 20 x 10 px; a camera has one size"):
        Pictures(paths, sorted((tmp_path / "other").glob("*.png")), light_response=False)
