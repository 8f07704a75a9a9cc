"""The frame gate: what no check could judge is refused, and what the checks are there for is not."""

import cv2
import numpy as np
import pytest

from edge import gate
from tests.drawn import Scene

SCENE = Scene(1, (256, 256))
GOODS = np.stack([SCENE.view(brightness=brightness) for brightness in (0.85, 0.95, 1.0, 1.05, 1.15)])
LIMITS = gate.limits([gate.measure(image) for image in GOODS])


@pytest.mark.parametrize("index", range(len(GOODS)))
def test_good_parts_pass(index: int):
    assert gate.check(LIMITS, GOODS[index]) is None


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (np.zeros_like(GOODS[0]), "too dark"),
        (np.random.default_rng(0).integers(0, 6, GOODS[0].shape, dtype=np.uint8), "too dark"),
        (np.full_like(GOODS[0], 255), "too bright"),
        (np.maximum(GOODS[0], 252), "too bright"),
        (cv2.GaussianBlur(GOODS[0], (0, 0), 12), "blurred"),
        (np.full_like(GOODS[0], 120), "blurred"),
    ],
    ids=["black", "noise in the dark", "white", "glare", "out of focus", "covered"],
)
def test_what_cannot_be_judged_is_refused_with_the_reason(image: np.ndarray, why: str):
    assert why in str(gate.check(LIMITS, image))


@pytest.mark.parametrize("colour", [0, 90, 255])
@pytest.mark.parametrize("share", [0.15, 0.4, 0.6])
def test_a_missing_or_foreign_object_comes_through(colour: int, share: float):
    image = GOODS[2].copy()
    reach = int(256 * share**0.5)
    image[20 : 20 + reach, 30 : 30 + reach] = colour
    assert gate.check(LIMITS, image) is None


@pytest.mark.parametrize("brightness", [0.6, 0.75, 1.25])
def test_drifting_light_and_slight_blur_come_through(brightness: float):
    image = SCENE.view(brightness=brightness)
    assert gate.check(LIMITS, image) is None
    assert gate.check(LIMITS, np.asarray(cv2.GaussianBlur(image, (0, 0), 1), np.uint8)) is None


@pytest.mark.parametrize("level", [0, 5, 128, 255])
def test_goods_without_structure_gate_nothing_like_themselves(level: int):
    flat = np.full((3, 64, 64, 3), level, np.uint8)
    assert gate.check(gate.limits([gate.measure(image) for image in flat]), flat[0]) is None


def test_mostly_black_goods_may_be_mostly_black():
    dark = GOODS.copy()
    dark[:, :, 20:] = 0
    limits = gate.limits([gate.measure(image) for image in dark])
    assert gate.check(limits, dark[0]) is None
    assert gate.check(limits, np.zeros_like(dark[0])) is not None
