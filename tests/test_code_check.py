"""Codes: what is printed is read however it lies, and what is not read, or says something else, never passes."""

import math
import unicodedata
from typing import get_args

import cv2
import numpy as np
import pytest
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st
from zxingcpp import BarcodeFormat

from edge.check_recipes import CodeCheck, CodeFormat
from edge.checks.code import MOST_BUSY_PX, MOST_SEARCHED_PX, CodeReader
from edge.judge import EXACT, RIGHT, WRONG

SIDE = 360
TEXT = "LOT-2291-0815/7745-AB"
GS1 = "(01)09506000134352(10)AB(21)X7"
EAN = "4006381333931"
UPC = "036000291452"
# What every format can say; zxing-cpp cannot draw the others.
TEXTS = {
    "Aztec": TEXT, "Codabar": "A40156B", "Code128": "LOT-2291", "Code39": "LOT-2291", "Code93": "LOT-2291",
    "DataMatrix": TEXT, "EAN13": EAN, "EAN8": "96385074", "ITF": "00012345678905", "MaxiCode": TEXT,
    "MicroQRCode": "A1B2", "PDF417": TEXT, "QRCode": TEXT, "UPCA": UPC, "UPCE": "04252614",
}  # fmt: skip
BARS = ("Codabar", "Code128", "Code39", "Code93", "EAN13", "EAN8", "ITF", "UPCA", "UPCE")


def reader(**check) -> CodeReader:
    return CodeReader("label", (40, 60, SIDE, SIDE), CodeCheck(**check))


def drawn(
    text=TEXT, kind="DataMatrix", *, module=5.0, angle=0.0, dark=30, light=220, side=SIDE, **options
) -> np.ndarray:
    """A code in the middle of a plain picture [side, side, 3], `module` px a cell, turned clockwise."""
    scale = 16
    image = np.array(zxingcpp.create_barcode(text, BarcodeFormat[kind], **options).to_image(scale=scale))
    quiet = cv2.copyMakeBorder(image, *[4 * scale] * 4, cv2.BORDER_CONSTANT, value=255)
    height, width = quiet.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -angle, module / scale)
    matrix[:, 2] += ((side - width) / 2, (side - height) / 2)
    # What a pixel of the picture averages of the drawing.
    averaged = cv2.GaussianBlur(quiet, (0, 0), 0.4 * scale / module)
    placed = cv2.warpAffine(averaged, matrix, (side, side), borderValue=255)
    grey = dark + placed.astype(np.float32) * (light - dark) / 255
    return cv2.cvtColor(np.round(grey).astype(np.uint8), cv2.COLOR_GRAY2BGR)


def pecked(module: float, radius_share=0.38) -> np.ndarray:
    """A Data Matrix of dots that do not touch, light on dark metal."""
    cells = np.array(zxingcpp.create_barcode(TEXT, BarcodeFormat.DataMatrix).to_image(scale=1, add_quiet_zones=False))
    fine = 16
    canvas = np.full(((cells.shape[0] + 4) * fine, (cells.shape[1] + 4) * fine), 60, np.uint8)
    for row, column in np.argwhere(cells < 128):
        cv2.circle(canvas, tuple(int((at + 2.5) * fine) for at in (column, row)), round(radius_share * fine), 200, -1)
    small = cv2.resize(canvas, None, fx=module / fine, fy=module / fine, interpolation=cv2.INTER_AREA)
    border = [(SIDE - small.shape[0]) // 2] * 2 + [(SIDE - small.shape[1]) // 2] * 2
    return cv2.cvtColor(cv2.copyMakeBorder(small, *border, cv2.BORDER_CONSTANT, value=60), cv2.COLOR_GRAY2BGR)


def noisy(image: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(4).normal(0, sigma, image.shape)
    return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma)


def reflecting(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    image[:70, :70] = 255
    return image


def texts(image: np.ndarray, **check) -> list[str]:
    return [reading.text for reading in reader(**check).look(image, None)]


class TestLook:
    def test_it_is_shown_the_region_as_it_is(self):
        check = reader()
        assert (check.name, check.box, check.size) == ("label.code", (40, 60, SIDE, SIDE), (SIDE, SIDE))
        assert check.answers == {"code"}

    def test_more_than_can_be_searched_is_scaled_down(self):
        width, height = CodeReader("label", (0, 0, 4000, 3000), CodeCheck()).size
        assert width * height <= MOST_SEARCHED_PX
        assert width / height == pytest.approx(4 / 3, rel=0.01)

    @pytest.mark.parametrize("kind", sorted(TEXTS))
    def test_every_format_is_read_by_its_name(self, kind):
        assert set(TEXTS) == set(get_args(CodeFormat))
        image = drawn(TEXTS[kind], kind, module={"MaxiCode": 1.5, "PDF417": 2}.get(kind, 1.5 if kind in BARS else 4))
        assert (
            reader(formats=[kind], expect=TEXTS[kind]).hold(reader(formats=[kind]).look(image, None), {}).score == RIGHT
        )
        other = "DataMatrix" if kind != "DataMatrix" else "QRCode"
        assert texts(image, formats=[other]) == []

    @pytest.mark.parametrize("angle", [0, 13, 30, 45, 60, 77, 90, 120, 150, 180, 211, 300])
    @pytest.mark.parametrize("kind", ["DataMatrix", "QRCode", "Code128"])
    def test_any_angle(self, kind, angle):
        text = TEXTS[kind]
        assert texts(drawn(text, kind, module=1.6 if kind in BARS else 5, angle=angle)) == [text]

    @pytest.mark.parametrize(
        "image",
        [
            drawn(dark=220, light=30),
            drawn(dark=100, light=112),
            drawn(dark=2, light=20),
            drawn(module=2, angle=11),
            blurred(drawn(angle=11), 2),
            noisy(drawn(angle=11), 40),
            noisy(drawn(angle=11), 70),
            noisy(drawn(dark=100, light=140, angle=11), 8),
            noisy(reflecting(drawn(dark=100, light=112)), 1),
            pecked(6),
            pecked(11),
        ],
        ids=["inverted", "faint", "dark", "small", "blurred", "noisy", "very noisy", "noisy and faint",
             "reflecting", "pecked", "pecked large"],
    )  # fmt: skip
    def test_hard_to_read(self, image):
        assert texts(image) == [TEXT]

    def test_bars_light_on_dark(self):
        assert texts(drawn("LOT-2291", "Code128", module=1.6, dark=220, light=30)) == ["LOT-2291"]

    def test_without_formats_those_that_are_found_in_noise_are_not_read(self):
        for kind in ("Codabar", "ITF"):
            assert texts(drawn(TEXTS[kind], kind, module=1.5)) == []

    @pytest.mark.parametrize("shape", [(0, 5, 3), (1, 1, 3), (1, 300, 3), (2, 2, 3), (3, 7, 3), (40, 30, 3)])
    @pytest.mark.parametrize("level", [0, 128, 255, None])
    def test_nothing_is_read_where_there_is_nothing(self, shape, level):
        noise = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
        assert texts(noise if level is None else np.full(shape, level, np.uint8), formats=get_args(CodeFormat)) == []

    def test_a_cut_that_is_a_view_of_a_larger_picture(self):
        wide = np.zeros((SIDE, 2 * SIDE, 3), np.uint8)
        wide[:, SIDE:] = drawn()
        assert texts(wide[:, SIDE:]) == [TEXT]

    @pytest.mark.parametrize("angle", [0, 30])
    @pytest.mark.parametrize(
        ("kind", "module", "change"),
        [("DataMatrix", 5, None), ("DataMatrix", 2, None), ("DataMatrix", 5, "faint"), ("Code128", 1.6, None)],
    )
    def test_says_where(self, kind, module, change, angle):
        contrast = {"dark": 100, "light": 112} if change else {}
        image = drawn(TEXTS[kind], kind, module=module, angle=angle, **contrast)
        (reading,) = reader().look(image, None)
        rows, columns = np.nonzero(image[..., 0] < (int(image.min()) + int(image.max())) / 2)
        truth = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        x, y, width, height = reading.box
        # Of a bar code, a line across all its bars is enough.
        across = [0, 2] if kind in BARS and angle == 0 else ([] if kind in BARS else [0, 1, 2, 3])
        assert np.abs(np.array([x, y, x + width, y + height]) - truth)[across].max(initial=0) <= 2 * module + 2
        assert truth[0] - 4 <= x and truth[1] - 4 <= y and x + width <= truth[2] + 4 and y + height <= truth[3] + 4


def large(*codes, size=(1600, 1200), texture=0.0, noise=2.0) -> np.ndarray:
    """A large picture of a texture and noise, so many grey levels strong, with codes at (picture, x, y)."""
    random = np.random.default_rng(11)
    soft = cv2.GaussianBlur(random.normal(0, 1, size[::-1]).astype(np.float32), (0, 0), 6)
    picture = 130 + texture * soft / soft.std()
    for code, x, y in codes:
        picture[y : y + code.shape[0], x : x + code.shape[1]] = code[..., 0]
    picture = np.clip(np.round(picture + random.normal(0, noise, size[::-1])), 0, 255).astype(np.uint8)
    return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)


class TestLarge:
    @pytest.mark.parametrize("angle", [0, 23, 135, 270])
    @pytest.mark.parametrize(
        ("kind", "module"), [("DataMatrix", 3), ("DataMatrix", 12), ("QRCode", 3), ("QRCode", 9), ("Code128", 2)]
    )
    def test_codes_small_and_large_are_read_beside_a_texture(self, kind, module, angle):
        if kind in BARS and angle not in (0, 270):
            angle = 12
        code = drawn(
            TEXTS[kind], kind, module=module, angle=angle, side=int(module * (40 if kind not in BARS else 180))
        )
        assert texts(large((code, 1000, 240), texture=15)) == [TEXTS[kind]]

    def test_inverted_faint_and_small(self):
        code = drawn(module=3, dark=150, light=90, side=110, angle=8)
        assert texts(large((code, 60, 1000), texture=6)) == [TEXT]

    def test_a_code_that_is_seen_small_hides_no_smaller_one(self):
        # Each is read by another way through the picture.
        codes = [(drawn("BIG", module=14, side=260), 100, 100), (drawn("SMALL-1", module=3, side=90), 1300, 200),
                 (drawn("LOT-2291", "Code128", module=2, side=320), 600, 800)]  # fmt: skip
        assert sorted(texts(large(*codes))) == ["BIG", "LOT-2291", "SMALL-1"]

    @pytest.mark.parametrize("module", [3, 14])
    def test_says_where(self, module):
        side = 30 * module
        code = drawn(module=module, side=side)
        (reading,) = reader().look(large((code, 900, 500), noise=0), None)
        rows, columns = np.nonzero(code[..., 0] < 128)
        truth = np.array([columns.min() + 900, rows.min() + 500, columns.max() + 901, rows.max() + 501])
        x, y, width, height = reading.box
        assert np.abs(np.array([x, y, x + width, y + height]) - truth).max() <= module + 2

    @pytest.mark.parametrize("size", [(2300, 1700), (1150, 860), (700, 860), (40_000, 30), (12, 60_000)])
    def test_what_is_searched_has_a_bound_whatever_the_picture(self, monkeypatch, size):
        read, counts = zxingcpp.read_barcodes, []

        def count(picture, formats, text_mode):
            if BarcodeFormat.DataMatrix in formats:
                # Of noise, all but the plain places differ from their neighbours.
                counts.append((picture.size, np.count_nonzero(np.abs(cv2.Laplacian(picture, cv2.CV_16S)) > 8)))
            return read(picture, formats=BarcodeFormat.MaxiCode, text_mode=text_mode)

        monkeypatch.setattr(zxingcpp, "read_barcodes", count)
        noise = np.random.default_rng(2).integers(0, 256, (*size[::-1], 3), np.uint8)
        assert CodeReader("label", (0, 0, *size), CodeCheck()).look(noise, None) == ()
        assert counts and sum(whole for whole, _ in counts[1:]) <= MOST_SEARCHED_PX + size[0] * size[1]
        assert all(busy <= (1.25 if whole <= math.prod(size) else 2.5) * MOST_BUSY_PX for whole, busy in counts)
        assert counts[0][1] > 0.7 * MOST_BUSY_PX

    def test_a_picture_of_a_usual_size_is_searched_as_it_is(self, monkeypatch):
        seen = []
        monkeypatch.setattr(zxingcpp, "read_barcodes", lambda picture, **_: seen.append(picture.copy()) or [])
        noise = np.random.default_rng(2).integers(0, 256, (600, 900, 3), np.uint8)
        reader().look(noise, None)
        assert np.array_equal(seen[0], cv2.cvtColor(noise, cv2.COLOR_BGR2GRAY))


class TestHold:
    def held(self, image, order=None, **check):
        one = reader(**check)
        return one.hold(one.look(image, None), {} if order is None else {"code": order})

    @pytest.mark.parametrize(
        ("order", "check", "score", "expected"),
        [
            (None, {}, RIGHT, None),
            (TEXT, {}, RIGHT, TEXT),
            ("LOT-1", {}, WRONG, "LOT-1"),
            (None, {"expect": TEXT}, RIGHT, TEXT),
            (None, {"expect": "LOT-1"}, WRONG, "LOT-1"),
            (None, {"pattern": r"LOT-\d{4}-.*"}, RIGHT, r"/LOT-\d{4}-.*/"),
            (None, {"pattern": r"LOT-\d{4}"}, WRONG, r"/LOT-\d{4}/"),
            (None, {"pattern": r"\d{4}"}, WRONG, r"/\d{4}/"),
            # The order stands above the recipe, and the recipe's text above its pattern.
            (TEXT, {"expect": "LOT-1"}, RIGHT, TEXT),
            ("LOT-1", {"expect": TEXT}, WRONG, "LOT-1"),
            (TEXT, {"pattern": "LOT-1"}, RIGHT, TEXT),
            ("LOT-1", {"pattern": ".*"}, WRONG, "LOT-1"),
            (None, {"expect": TEXT, "pattern": "LOT-1"}, RIGHT, TEXT),
            (None, {"expect": "LOT-1", "pattern": ".*"}, WRONG, "LOT-1"),
            # A text is no pattern, and what is nearly the same is another.
            ("LOT.*", {}, WRONG, "LOT.*"),
            (TEXT.lower(), {}, WRONG, TEXT.lower()),
            (TEXT + " ", {}, WRONG, TEXT + " "),
            (TEXT[:-1], {}, WRONG, TEXT[:-1]),
            ("", {}, WRONG, ""),
        ],
    )
    def test_what_it_must_say(self, order, check, score, expected):
        finding = self.held(drawn(), order, **check)
        assert (finding.score, finding.limits, finding.found, finding.expected) == (score, EXACT, TEXT, expected)
        assert bool(finding.boxes) == (score == WRONG)
        assert finding.problem is None

    @pytest.mark.parametrize("order", [None, TEXT, ""])
    @pytest.mark.parametrize("check", [{}, {"expect": TEXT}, {"pattern": ".*"}, {"pattern": ""}, {"expect": ""}])
    @pytest.mark.parametrize("kind", ["empty", "noise", "damaged"])
    def test_what_is_not_read_fails(self, kind, check, order):
        if kind == "damaged":
            image = drawn()
            cv2.circle(image, (SIDE // 2, SIDE // 2), 34, (220, 220, 220), -1)
        else:
            image = np.full((SIDE, SIDE, 3), 90, np.uint8)
            image = noisy(image, 60) if kind == "noise" else image
        finding = self.held(image, order, formats=["DataMatrix"], **check)
        assert (finding.score, finding.limits, finding.found, finding.boxes) == (WRONG, EXACT, None, ())

    def test_a_small_damage_is_put_right_by_the_code(self):
        image = drawn()
        cv2.circle(image, (SIDE // 2, SIDE // 2), 8, (220, 220, 220), -1)
        assert self.held(image, TEXT).score == RIGHT

    def test_one_of_several_is_enough_and_all_are_named(self):
        image = np.hstack([drawn("A-1", side=180), drawn("B-2", "QRCode", side=180)])
        for order, score in (("A-1", RIGHT), ("B-2", RIGHT), ("C-3", WRONG), ("A-1, B-2", WRONG)):
            finding = self.held(image, order)
            assert (finding.score, sorted(finding.found.split(", "))) == (score, ["A-1", "B-2"])
        boxes = sorted(self.held(image, "C-3").boxes)
        assert [box[0] < 180 for box in boxes] == [True, False]

    def test_an_order_for_something_else_changes_nothing(self):
        one = reader(expect=TEXT)
        assert one.hold(one.look(drawn(), None), {"variant": "left"}).score == RIGHT


class TestTexts:
    def right(self, image, order):
        one = reader()
        return one.hold(one.look(image, None), {"code": order}).score == RIGHT

    @pytest.mark.parametrize("kind", ["DataMatrix", "Code128", "QRCode"])
    def test_gs1_as_people_write_it_and_as_the_code_has_it(self, kind):
        image = drawn(GS1, kind, module=1.3 if kind in BARS else 4, gs1=True)
        assert texts(image) == [GS1]
        assert self.right(image, GS1) and self.right(image, "010950600013435210AB\x1d21X7")
        assert not self.right(image, "010950600013435210AB21X7")

    def test_control_characters_are_made_visible_or_themselves(self):
        for content, visible in ((b"[)>\x1e06\x1dP123\x1e\x04", "[)>␞06␝P123␞␄"), (b"A\x1dB\n", "A<GS>B<LF>")):
            image = drawn(content)
            assert texts(image) == [visible]
            assert self.right(image, content.decode()) and self.right(image, visible)

    def test_upc_has_13_digits_or_12_or_8(self):
        image = drawn(UPC, "UPCA", module=1.5)
        assert self.right(image, UPC) and self.right(image, "0" + UPC) and not self.right(image, UPC[1:])
        image = drawn("04252614", "UPCE", module=1.5)
        for order in ("04252614", "042100005264", "0042100005264"):
            assert self.right(image, order)
        assert not self.right(image, "4252614")

    def test_letters_of_any_language(self):
        assert self.right(drawn("Prüfung 日本"), "Prüfung 日本")

    @given(st.binary(min_size=1, max_size=12))
    def test_any_bytes_are_a_text_that_can_be_said_in_an_event(self, content):
        one = reader(formats=["DataMatrix"])
        found = one.hold(one.look(drawn(content, side=200), None), {}).found
        assert found.encode()
        assert not any(unicodedata.category(character) == "Cc" for character in found)
