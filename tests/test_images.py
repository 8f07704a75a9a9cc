"""Pictures from files and from camera buffers: what comes out, and what is refused."""

import logging
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.images import PIXEL_FORMATS, ImageError, as_bgr, frame_bytes, list_images, read_image


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    """Soft colours that JPEG keeps, different in every channel and towards every side."""
    y, x = np.indices((height, width))
    return np.stack([40 + 2 * x, 60 + 2 * y, 200 - x - y], axis=2).clip(0, 255).astype(np.uint8)


def encoded(suffix: str, image: np.ndarray | None = None) -> bytes:
    return cv2.imencode(suffix, picture() if image is None else image)[1].tobytes()


def written(folder: Path, data: bytes, name: str = "part.png") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ImageError) as refused:
        read_image(path)
    message = str(refused.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_a_picture_comes_back_as_it_was(tmp_path: Path, suffix: str):
    assert np.array_equal(read_image(written(tmp_path, encoded(suffix))), picture())


def test_a_jpeg_comes_back_nearly_as_it_was(tmp_path: Path):
    read = read_image(written(tmp_path, encoded(".jpg"), "part.JPG"))
    assert np.abs(read.astype(int) - picture()).mean() < 2


def test_the_content_counts_not_the_name(tmp_path: Path):
    assert read_image(written(tmp_path, encoded(".bmp"), "part.png")).shape == (48, 64, 3)


def test_grey_becomes_three_equal_channels(tmp_path: Path):
    grey = picture()[..., 0]
    read = read_image(written(tmp_path, encoded(".png", grey)))
    assert np.array_equal(read, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_scaled_to_8_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture, channels: int):
    deep = picture().astype(np.uint16)[..., :channels] * 257
    path = written(tmp_path, encoded(".png", deep))
    with caplog.at_level(logging.WARNING):
        read = read_image(path)
    assert read.dtype == np.uint8 and np.array_equal(read[..., :channels], picture()[..., :channels])
    assert str(path) in caplog.text and "16 bits" in caplog.text


def test_an_opaque_alpha_channel_is_dropped_and_a_transparent_one_refused(tmp_path: Path):
    opaque = np.dstack([picture(), np.full((48, 64), 255, np.uint8)])
    assert np.array_equal(read_image(written(tmp_path, encoded(".png", opaque))), picture())
    opaque[5, 5, 3] = 254
    assert "transparent" in refusal(written(tmp_path, encoded(".png", opaque)))


def test_the_orientation_a_jpeg_is_tagged_with_is_applied(tmp_path: Path):
    tag = struct.pack("<HHIHHI", 1, 0x0112, 3, 1, 6, 0)[2:]  # one entry: orientation, short, 1 value, turn clockwise
    exif = b"Exif\0\0" + b"II*\0" + struct.pack("<IH", 8, 1) + tag + struct.pack("<HI", 0, 0)
    data = encoded(".jpg")
    tagged = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    read = read_image(written(tmp_path, tagged, "part.jpg"))
    assert np.array_equal(read, np.rot90(read_image(written(tmp_path, data, "plain.jpg")), -1))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
@pytest.mark.parametrize("lost", [1, 30, 0.5, 0.99])
def test_a_truncated_picture_is_refused(tmp_path: Path, suffix: str, lost: float):
    data = encoded(suffix)
    cut = data[: len(data) - (lost if isinstance(lost, int) else int(lost * len(data)))]
    assert "truncated" in refusal(written(tmp_path, cut, f"part{suffix}"))


def test_a_thumbnail_inside_a_truncated_jpeg_does_not_make_it_whole(tmp_path: Path):
    data, thumbnail = encoded(".jpg"), encoded(".jpg", picture(8, 8))
    with_thumbnail = data[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + data[2:]
    assert read_image(written(tmp_path, with_thumbnail, "whole.jpg")).shape == (48, 64, 3)
    assert "truncated" in refusal(written(tmp_path, with_thumbnail[:-40], "cut.jpg"))


def test_bytes_after_the_end_do_no_harm(tmp_path: Path):
    assert read_image(written(tmp_path, encoded(".jpg") + bytes(64), "part.jpg")).shape == (48, 64, 3)


def test_a_png_with_one_bit_flipped_is_refused(tmp_path: Path):
    data = bytearray(encoded(".png"))
    data[len(data) // 2] ^= 1
    assert "damaged" in refusal(written(tmp_path, bytes(data)))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"just a note\n", "not a JPEG, PNG or BMP"),
        (encoded(".tiff"), "not a JPEG, PNG or BMP"),
        (b"\xff\xd8\xff\xd9", "decoded"),
        (b"BM" + struct.pack("<I", 10) + bytes(40), "decoded"),
    ],
    ids=["zero bytes", "text", "another format", "a JPEG of nothing", "a BMP of nothing"],
)
def test_what_is_no_picture_is_refused_with_its_reason(tmp_path: Path, data: bytes, why: str):
    assert why in refusal(written(tmp_path, data))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path):
    assert "No such file" in refusal(tmp_path / "missing.png")
    assert "directory" in refusal(tmp_path)


def test_a_folder_is_listed_by_name_without_what_is_no_picture(tmp_path: Path):
    for name in ("b.PNG", "a.jpg", "c.bmp", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.jpg", "b.PNG", "c.bmp"]


def test_a_folder_without_pictures_is_an_error_that_names_it(tmp_path: Path):
    with pytest.raises(ImageError, match=f"{tmp_path}: no images"):
        list_images(tmp_path)
    with pytest.raises(ImageError, match="not a folder"):
        list_images(tmp_path / "nowhere")


def test_mono_bgr_and_rgb_buffers(tmp_path: Path):
    image = picture()
    grey = image[..., 0]
    assert np.array_equal(as_bgr(grey.ravel(), 64, 48, "Mono8"), np.repeat(grey[..., None], 3, axis=2))
    assert np.array_equal(as_bgr(image.ravel(), 64, 48, "BGR8"), image)
    assert np.array_equal(as_bgr(image[..., ::-1].ravel(), 64, 48, "RGB8"), image)


# Where each colour is in the top left 2 x 2 pixels; B, G, R are 0, 1, 2.
MOSAICS = {"BayerRG8": (2, 1, 1, 0), "BayerGB8": (1, 0, 2, 1), "BayerGR8": (1, 2, 0, 1), "BayerBG8": (0, 1, 1, 2)}


@pytest.mark.parametrize("pixel_format", MOSAICS)
def test_a_bayer_buffer_gets_its_colours_back(pixel_format: str):
    image = np.empty((48, 64, 3), np.uint8)
    image[:, :32], image[:, 32:] = (200, 30, 90), (20, 160, 240)
    mosaic = np.empty((48, 64), np.uint8)
    for place, channel in enumerate(MOSAICS[pixel_format]):
        row, column = divmod(place, 2)
        mosaic[row::2, column::2] = image[row::2, column::2, channel]
    found = as_bgr(mosaic.ravel(), 64, 48, pixel_format)
    assert np.array_equal(found[2:-2, 2:28], image[2:-2, 2:28])
    assert np.array_equal(found[2:-2, 36:-2], image[2:-2, 36:-2])


def stored(values: np.ndarray, pixel_format: str) -> np.ndarray:
    """The bytes of these pixels, written bit by bit from the words of the standards."""
    if pixel_format.endswith("Packed"):
        return stored_packed(values.tolist(), 10 if "10" in pixel_format else 12)
    bits = "".join(f"{value:0{10 if '10' in pixel_format else 12}b}"[::-1] for value in values.tolist())
    if not pixel_format.endswith("p"):  # a word for each
        return np.frombuffer(struct.pack(f"<{values.size}H", *values.tolist()), np.uint8)
    bits += "0" * (-len(bits) % 8)
    return np.array([int(bits[place : place + 8][::-1], 2) for place in range(0, len(bits), 8)], np.uint8)


def stored_packed(values: list[int], bits: int) -> np.ndarray:
    low = (1 << (bits - 8)) - 1
    data: list[int] = []
    for first, second in zip(values[::2], [*values[1::2], 0], strict=False):
        data += [first >> (bits - 8), first & low | (second & low) << 4, second >> (bits - 8)]
    return np.array(data[:-1] if len(values) % 2 else data, np.uint8)


DEEP = {"10": 10, "12": 12, "16": 16, "10p": 10, "12p": 12, "10Packed": 10, "12Packed": 12}


@pytest.mark.parametrize("packing", DEEP)
@pytest.mark.parametrize(("width", "height"), [(64, 48), (16, 2), (7, 5), (5, 5), (3, 1)])
def test_deep_pixels_keep_their_eight_highest_bits(packing: str, width: int, height: int):
    values = np.random.default_rng(3).integers(0, 1 << DEEP[packing], width * height)
    values[:2] = 0, (1 << DEEP[packing]) - 1
    data = stored(values, packing)
    assert data.size == frame_bytes(width, height, f"Mono{packing}")
    expected = (values >> (DEEP[packing] - 8)).astype(np.uint8).reshape(height, width)
    found = as_bgr(data, width, height, f"Mono{packing}")
    assert np.array_equal(found, np.repeat(expected[..., None], 3, axis=2))


@pytest.mark.parametrize("packing", DEEP)
@pytest.mark.parametrize("mosaic", ["BayerRG", "BayerGB", "BayerGR", "BayerBG"])
def test_deep_mosaics_are_those_of_their_eight_highest_bits(packing: str, mosaic: str):
    values = np.random.default_rng(4).integers(0, 1 << DEEP[packing], 64 * 48)
    shallow = (values >> (DEEP[packing] - 8)).astype(np.uint8)
    found = as_bgr(stored(values, packing), 64, 48, f"{mosaic}{packing}")
    assert np.array_equal(found, as_bgr(shallow, 64, 48, f"{mosaic}8"))


@pytest.mark.parametrize("pixel_format", [name for name in PIXEL_FORMATS if name != "JPEG"])
def test_a_code_tells_the_bits_of_a_pixel(pixel_format: str):
    code = PIXEL_FORMATS[pixel_format].code  # by its bits 16 to 23; eight pixels take as many bytes
    assert code is not None and (code >> 16) & 0xFF == frame_bytes(8, 1, pixel_format)
    assert [known.code for known in PIXEL_FORMATS.values()].count(code) == 1


def test_yuv_gets_its_colours_back():
    # BT.601 with Y from 16 to 235: white, black, pure red and pure blue, each for two pixels.
    data = np.array([[235, 128, 235, 128, 16, 128, 16, 128, 81, 90, 81, 240, 41, 240, 41, 110]] * 2, np.uint8)
    found = as_bgr(data.ravel(), 8, 2, "YUV422_8")
    expected = np.repeat(np.array([[255] * 3, [0] * 3, [0, 0, 255], [255, 0, 0]]), 2, axis=0)
    assert np.abs(found.astype(int) - expected).max() <= 2
    with pytest.raises(ImageError, match="7x2 is no size of a YUV422_8"):
        as_bgr(data.ravel(), 7, 2, "YUV422_8")


def in_slot(data: bytes) -> np.ndarray:
    """A ring slot with this frame and what the frame before left behind it."""
    slot = np.full(frame_bytes(64, 48, "JPEG"), 0x5A, np.uint8)
    slot[: len(data)] = np.frombuffer(data, np.uint8)
    return slot


def test_a_jpeg_buffer_is_as_long_as_it_says():
    data = encoded(".jpg")
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(as_bgr(in_slot(data), 64, 48, "JPEG", len(data)), expected)
    for lost in (1, 2, len(data) // 2, len(data)):
        with pytest.raises(ImageError):
            as_bgr(in_slot(data), 64, 48, "JPEG", len(data) - lost)
    with pytest.raises(ImageError, match="64x48 pixels, not 64x50"):
        as_bgr(in_slot(data), 64, 50, "JPEG", len(data))


def test_a_jpeg_without_its_usual_tables_is_read():
    # Most USB cameras leave out the Huffman tables of every JPEG (marker DHT), since they are always the same.
    data, short = encoded(".jpg"), b""
    position = 2
    while data[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        short += data[position:end] if data[position + 1] != 0xC4 else b""
        position = end
    short = data[:2] + short + data[position:]
    assert len(short) < len(data) - 400
    expected = as_bgr(in_slot(data), 64, 48, "JPEG", len(data))
    assert np.array_equal(as_bgr(in_slot(short), 64, 48, "JPEG", len(short)), expected)


@pytest.mark.parametrize("pixel_format", [name for name in PIXEL_FORMATS if name != "JPEG"])
def test_a_larger_buffer_is_fine_and_a_smaller_one_refused(pixel_format: str):
    needed = frame_bytes(16, 8, pixel_format)
    buffer = np.random.default_rng(0).integers(0, 256, needed + 100, dtype=np.uint8)
    found = as_bgr(buffer, 16, 8, pixel_format)
    assert np.array_equal(found, as_bgr(buffer[:needed], 16, 8, pixel_format))
    assert np.array_equal(found, as_bgr(buffer, 16, 8, pixel_format, needed))
    with pytest.raises(ImageError, match="too few"):
        as_bgr(buffer[: needed - 1], 16, 8, pixel_format)
    with pytest.raises(ImageError, match="too few"):
        as_bgr(buffer, 16, 8, pixel_format, needed - 1)


def test_an_unknown_pixel_format_is_refused_by_name():
    with pytest.raises(ImageError, match="Mono14 is not one of BGR8"):
        as_bgr(np.zeros(4096, np.uint8), 16, 8, "Mono14")
