"""The demo product's parts: the load floor of a trunk with its foam insert, and what may lie in it.

Drawn as reliefs under one lamp, at the size of `DRAWN`; every length is in px of it.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras.relief import (
    Colour,
    Point,
    Relief,
    Shape,
    beads,
    capsule,
    clouds,
    disc,
    felt,
    grain,
    hollow,
    joined,
    lettering,
    rounded_box,
    triangle,
)

Picture = NDArray[np.uint8]
Size = tuple[int, int]

# (width, height) of the scene.
DRAWN: Size = (1280, 960)
# Where the triangle belongs, and from its centre to its corners.
SPOT: Point = (732.0, 420.0)
REACH_PX = 212.0
# B, G, R of what everything is made of.
_TRIM, _CARPET, _BINDING, _FOAM = (44, 43, 42), (84, 83, 82), (46, 46, 46), (92, 92, 93)
_STEEL, _BLACK, _PAPER = (168, 170, 172), (38, 38, 39), (208, 214, 216)
_RED, _ORANGE = (28, 20, 196), (24, 84, 250)
_GREEN, _WHITE, _YELLOW, _SILVER = (78, 128, 22), (226, 228, 228), (38, 226, 204), (196, 198, 198)
# A lens draws no sharper than this.
_LENS_PX = 0.7


@dataclass(frozen=True)
class Item:
    """Something that lies in the trunk, seen from above: uint8 [side, side, 4], B, G, R and how much it covers."""

    picture: Picture


@lru_cache(maxsize=1)
def empty_floor() -> Picture:
    """The floor with nothing in the triangle's spot, uint8 [960, 1280, 3] BGR. Not to be written to."""
    generator = np.random.default_rng(5)
    relief = Relief(DRAWN, _TRIM)
    everywhere = rounded_box((640, 480), DRAWN, 0)
    relief.roughen(everywhere, grain(generator, DRAWN, 1.1), 0.5, 0.10)
    relief.gloss += 0.25
    _sill(relief)
    _board(relief, generator)
    _insert(relief, generator)
    _handle(relief)
    for centre in ((112, 106), (112, 762), (1176, 106), (1176, 762)):
        _lashing_eye(relief, centre)
    _labels(relief)
    return _through_lens(relief.photographed())


def _through_lens(picture: Picture) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), _LENS_PX), np.uint8)


def _sill(relief: Relief) -> None:
    """The plastic edge at the bumper, ribbed, with the striker that the hatch locks onto.

    It goes on beyond the picture: an edge that the camera sees or not, as the part lies, would tell good parts apart.
    """
    relief.press(rounded_box((640, 940), (1400, 150), 20), 9, 14)
    for x in (*range(130, 470, 42), *range(814, 1160, 42)):
        relief.press(capsule((x, 888), (x, 922), 8), -4, 8)
    relief.press(rounded_box((640, 906), (240, 70), 16), -12, 10)
    plate = rounded_box((640, 908), (176, 48), 8)
    relief.press(plate, 4, 3)
    relief.paint(plate, (128, 130, 132), gloss=0.5)
    for x in (572, 708):
        _bolt(relief, (x, 908))
    for begin, end in (((610, 920), (610, 890)), ((670, 920), (670, 890)), ((610, 890), (670, 890))):
        _rod(relief, begin, end, 7)


def _rod(relief: Relief, begin: Point, end: Point, radius: float, colour: Colour = _STEEL) -> None:
    rod = capsule(begin, end, radius)
    relief.round_off(rod, radius)
    relief.paint(rod, colour, gloss=0.8)


def _bolt(relief: Relief, centre: Point) -> None:
    head = disc(centre, 13)
    relief.press(head, 6, 4)
    relief.paint(head, _STEEL, gloss=0.6)
    relief.press(disc(centre, 6), -4, 3)


def _board(relief: Relief, generator: np.random.Generator) -> None:
    """The floor board: needle felt, worn here and there, its edge bound with tape, and the hinge's crease."""
    board = rounded_box((644, 434), (1190, 792), 52)
    relief.press(board.grown(8), -14, 10)
    relief.press(board, 16, 16)
    relief.paint(board, _CARPET)
    relief.roughen(board, felt(generator, DRAWN, range(0, 180, 30)), 1.3, 0.26)
    relief.roughen(board, clouds(generator, DRAWN, 60), 1.0, 0.10)
    relief.roughen(board, clouds(generator, DRAWN, 260), 0, 0.12)
    binding = board.grown(-9).outline(16)
    relief.round_off(binding, 8)
    relief.paint(binding, _BINDING, gloss=0.12)
    relief.press(capsule((392, 66), (392, 802), 4), -7, 7)


def _insert(relief: Relief, generator: np.random.Generator) -> None:
    """The foam insert with its three recesses: the triangle's, the wheel wrench's, the towing eye's."""
    foam = rounded_box((768, 434), (668, 700), 44)
    relief.press(foam.grown(7), -16, 6)
    relief.press(foam, 19, 12)
    relief.paint(foam, _FOAM)
    relief.roughen(foam, beads(generator, DRAWN, 6.5), 0.6, 0.06)
    relief.roughen(foam, clouds(generator, DRAWN, 180), 0, 0.09)
    grips = [rounded_box((SPOT[0] + side * 118, SPOT[1] - 40), (74, 86), 37) for side in (-1, 1)]
    relief.press(joined([triangle(SPOT, REACH_PX + 38, 26), *grips]), -26, 12)
    _moulded_sign(relief)
    _wrench(relief)
    _towing_eye(relief)


def _moulded_sign(relief: Relief) -> None:
    """What the bottom of the triangle's recess says: seen where the triangle is hollow, or missing."""
    relief.press(triangle((SPOT[0], SPOT[1] - 26), 56, 8).outline(9), 4, 4)
    relief.press(lettering("TRIANGLE", (SPOT[0] - 56, SPOT[1] + 32), 0.7, 2), 3, 1)


def _wrench(relief: Relief) -> None:
    grips = [rounded_box((x, 698), (76, 158), 34) for x in (690, 850)]
    relief.press(joined([rounded_box((752, 698), (560, 104), 48), *grips]), -26, 12)
    _rod(relief, (536, 700), (952, 694), 13)
    for x in (986, 964, 944):
        _rod(relief, (x, 694), (x + 10, 694), 24, (150, 152, 155))
    relief.press(disc((986, 694), 14), -20, 4)
    relief.paint(disc((986, 694), 13), _BLACK)
    grip = capsule((548, 700), (640, 698), 17)
    relief.round_off(grip, 8)
    relief.paint(grip, _BLACK, gloss=0.3)


def _towing_eye(relief: Relief) -> None:
    relief.press(rounded_box((1030, 268), (104, 268), 48), -24, 12)
    ring = disc((1030, 196), 30).outline(17)
    relief.round_off(ring, 8.5)
    relief.paint(ring, (58, 60, 62), gloss=0.7)
    _rod(relief, (1030, 240), (1030, 376), 12, (92, 94, 97))
    for y in range(306, 384, 7):
        relief.press(capsule((1019, y), (1041, y - 3), 1.4), -4, 2)


def _handle(relief: Relief) -> None:
    """The pull handle of the floor board: a plastic bowl with a bar across it."""
    bezel = rounded_box((232, 420), (150, 232), 34)
    relief.press(bezel, 6, 8)
    relief.paint(bezel, _BLACK, gloss=0.35)
    relief.press(rounded_box((232, 420), (112, 194), 26), -30, 10)
    bar = rounded_box((232, 372), (112, 66), 12)
    relief.press(bar, 27, 9)
    relief.paint(bar, (50, 50, 51), gloss=0.4)
    relief.press(lettering("PULL", (205, 380), 0.72, 2), -2, 1)


def _lashing_eye(relief: Relief, centre: Point) -> None:
    cup = disc(centre, 34)
    relief.press(cup, 5, 6)
    relief.paint(cup, _BLACK, gloss=0.3)
    relief.press(disc(centre, 27), -14, 8)
    ring = disc(centre, 19).outline(9)
    relief.round_off(ring, 4.5)
    relief.press(ring, 5, 2)
    relief.paint(ring, _STEEL, gloss=0.9)
    _rod(relief, (centre[0] - 24, centre[1]), (centre[0] + 24, centre[1]), 5, (90, 91, 92))


def _labels(relief: Relief) -> None:
    sticker = rounded_box((232, 664), (196, 118), 8)
    relief.press(sticker, 1, 2)
    relief.paint(sticker, _PAPER, gloss=0.2)
    relief.paint(rounded_box((232, 626), (196, 42), 8), (24, 168, 232))
    relief.paint(lettering("TOOLS", (184, 637), 0.95, 3), (30, 30, 30))
    relief.paint(lettering("MAX 100 kg", (150, 682), 0.8, 2), (40, 40, 40))
    relief.paint(lettering("5QA 012 115 C", (150, 711), 0.55, 1), (70, 70, 70))


# --- what lies in it


@lru_cache(maxsize=1)
def warning_triangle() -> Item:
    """Red reflector outside, orange fabric inside, hollow; hinges at the corners, the folded stand across."""
    side = 2 * round(REACH_PX) + 48
    centre = side / 2, side / 2
    relief = Relief((side, side), _BLACK)
    stand = rounded_box((centre[0], centre[1] + 48), (2 * REACH_PX * 0.62, 15), 5)
    body = triangle(centre, REACH_PX, 16)
    band = hollow(body, triangle(centre, REACH_PX - 96, 4))
    relief.press(stand, 5, 4)
    relief.paint(stand, _STEEL, gloss=0.6)
    relief.press(band, 9, 5)
    relief.paint(band, _ORANGE, gloss=0.05)
    reflector = hollow(body.grown(-3), triangle(centre, REACH_PX - 56, 8))
    relief.paint(reflector, _RED, gloss=0.45)
    _prisms(relief, reflector, centre)
    hinges = [_hinge(relief, centre, angle) for angle in (-90.0, 30.0, 150.0)]
    return _item(relief, [band, stand, *hinges])


def _prisms(relief: Relief, reflector: Shape, centre: Point) -> None:
    """The reflector's cells: a lattice of prisms, each a little brighter or darker, in fields of six across."""
    height, width = relief.height.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    glints = np.random.default_rng(8).uniform(-1, 1, (64, 64)).astype(np.float32)
    along, across = (x - centre[0] + y - centre[1]) / 9, (x - centre[0] - y + centre[1]) / 9
    lattice = np.maximum(np.abs(along % 1 - 0.5), np.abs(across % 1 - 0.5)) * 4 - 1.4
    glint = glints[np.floor(along).astype(int) % 64, np.floor(across).astype(int) % 64]
    relief.roughen(reflector, -lattice, 0.5, 0.16)
    relief.roughen(reflector, glint, 0.0, 0.20)


def _hinge(relief: Relief, centre: Point, angle_deg: float) -> Shape:
    direction = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    near, far = REACH_PX * 0.80, REACH_PX * 0.90
    cap = capsule(
        (centre[0] + near * direction[0], centre[1] + near * direction[1]),
        (centre[0] + far * direction[0], centre[1] + far * direction[1]),
        17,
    )
    relief.press(cap, 5, 6)
    relief.paint(cap, _BLACK, gloss=0.4)
    rivet = disc((centre[0] + 0.84 * REACH_PX * direction[0], centre[1] + 0.84 * REACH_PX * direction[1]), 7)
    relief.round_off(rivet, 5)
    relief.paint(rivet, _STEEL, gloss=0.8)
    return cap


@lru_cache(maxsize=1)
def first_aid_bag() -> Item:
    """A green bag with a white cross and a zip."""
    relief, bag = _bag(_GREEN)
    for size in ((136, 42), (42, 136)):
        cross = rounded_box((180, 168), size, 5)
        relief.press(cross, 1.5, 2)
        relief.paint(cross, _WHITE)
    return _item(relief, [bag])


@lru_cache(maxsize=1)
def safety_vest() -> Item:
    """A yellow vest in its pouch, with two reflecting stripes."""
    relief, bag = _bag(_YELLOW)
    for y in (136, 206):
        stripe = rounded_box((180, y), (312, 30), 2)
        relief.press(stripe, 1, 2)
        relief.paint(stripe, _SILVER, gloss=0.5)
    return _item(relief, [bag])


def _bag(colour: Colour) -> tuple[Relief, Shape]:
    """Soft, with folds, 320 x 220 in the middle of 360 x 360, a zip along its lower edge."""
    generator = np.random.default_rng(3)
    size = (360, 360)
    relief, bag = Relief(size, _BLACK), rounded_box((180, 180), (320, 220), 34)
    relief.press(bag, 22, 26)
    relief.paint(bag, colour, gloss=0.10)
    relief.roughen(bag, clouds(generator, size, 44), 5.0, 0.03)
    relief.roughen(bag, grain(generator, size, 0.9), 0.5, 0.10)
    zip_ = capsule((52, 262), (308, 262), 4)
    relief.press(zip_, -3, 3)
    relief.paint(zip_, (30, 32, 32))
    relief.paint(rounded_box((290, 262), (22, 12), 3), _STEEL, gloss=0.6)
    return relief, bag


def _item(relief: Relief, shapes: list[Shape]) -> Item:
    return Item(np.dstack([_through_lens(relief.photographed()), relief.covered(shapes)]))
