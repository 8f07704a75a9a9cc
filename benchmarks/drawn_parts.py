"""Drawn parts, good or with a defect: screws and discs that lie at any angle, and the demo product's trunk."""

from dataclasses import dataclass

import cv2
import numpy as np
from drawn_surfaces import SIDE, Draw, grain, photographed, walk

from edge.cameras import scene

# A screw is drawn this large, px: about that much larger than it is judged.
SCREW_PX = 768
# Lengths along a screw, px: the whole, and where its cone, shank, thread and tip begin.
LENGTH, CONE, SHANK, THREAD, TIP = 540, 20, 60, 188, 442
PITCH = 20.0
TRUNK_PX = (640, 480)


@dataclass(frozen=True)
class Lying:
    """Where pixels are along a part and across it, from its head."""

    along: np.ndarray
    across: np.ndarray
    angle: float


def laid(random: np.random.Generator) -> Lying:
    """A screw anywhere near the middle of the picture, at any angle."""
    y, x = np.mgrid[:SCREW_PX, :SCREW_PX].astype(np.float32)
    centre, angle = SCREW_PX / 2 + random.uniform(-45, 45, 2), random.uniform(0, 2 * np.pi)
    dx, dy = x - centre[0], y - centre[1]
    along = dx * np.cos(angle) + dy * np.sin(angle) + LENGTH / 2
    return Lying(along, dy * np.cos(angle) - dx * np.sin(angle), angle)


def table(random: np.random.Generator) -> np.ndarray:
    """A bright table, lit from a side and darker in its corners."""
    y, x = np.mgrid[:SCREW_PX, :SCREW_PX].astype(np.float32) / SCREW_PX - 0.5
    angle = random.uniform(1.8, 2.8)
    light = random.uniform(8, 20) * (x * np.cos(angle) + y * np.sin(angle)) - random.uniform(25, 50) * (x * x + y * y)
    return 218 + random.normal(0, 3) + light


def screw(random: np.random.Generator, defect: str | None) -> np.ndarray:
    """A countersunk screw, shaded as a turned body under a light that stays where it is."""
    lying = laid(random)
    along, across = lying.along, lying.across
    if defect == "bent":
        into = np.clip((along - TIP + 20) / 110, 0, 1.2)
        across = across - random.uniform(11, 20) * random.choice([-1, 1]) * np.square(into)
    turn = random.uniform(0, 1)
    depth, dull = thread_of(along, across, random, defect)
    radius = outline(along, across, depth, turn)
    inside = np.clip(radius - np.abs(across) + 0.5, 0, 1) * (radius > 0.5)
    level = shading(lying, across, radius, depth, turn, random) * (1 - 0.55 * dull)
    if defect == "scratch":
        level = level + random.choice([-70, 90]) * scratch(along, across, random)
    shadow = cv2.GaussianBlur(np.roll(inside, (7, 6), (0, 1)), (0, 0), 7)
    grey = table(random) * (1 - 0.22 * shadow) * (1 - inside) + level * inside
    if defect == "dirt":
        grey = dirt(grey, along, across, random)
    grey = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 0.8) * random.normal(1, 0.02)
    noisy = np.clip(grey + random.normal(0, 2.5, grey.shape) + 0.5, 0, 255).astype(np.uint8)
    return cv2.cvtColor(noisy, cv2.COLOR_GRAY2BGR)


def thread_of(
    along: np.ndarray, across: np.ndarray, random: np.random.Generator, defect: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """The depth of the thread everywhere, px, and how dull the metal is."""
    depth = 12 * np.clip((along - THREAD) / 30, 0, 1)
    if defect not in ("thread", "missing"):
        return depth, np.zeros_like(depth)
    at, side = random.uniform(250, 420), random.choice([-1, 1])
    hurt = np.exp(-(((along - at) / PITCH) ** 4)) * (across * side > -4)
    if defect == "missing":
        return depth * (1 - hurt), np.zeros_like(depth)
    return depth * (1 - 0.75 * hurt), hurt * random.uniform(0.4, 0.8)


def outline(along: np.ndarray, across: np.ndarray, depth: np.ndarray, turn: float) -> np.ndarray:
    """The radius of the body at every pixel's place along it, 0 beyond its ends."""
    tooth = 1 - np.abs(2 * ((along / PITCH + turn + np.where(across > 0, 0.5, 0)) % 1) - 1)
    threaded = (22 + depth * tooth) * np.clip((LENGTH - along) / (LENGTH - TIP), 0, 1) ** 0.8
    pieces = [along < 0, along < CONE, along < SHANK, along < THREAD, along < LENGTH]
    cone = 63 - (63 - 28) * (along - CONE) / (SHANK - CONE)
    return np.select(pieces, [0, 66 - 0.3 * np.abs(along - CONE / 2), cone, 26.5, threaded], 0)


def shading(
    lying: Lying, across: np.ndarray, radius: np.ndarray, depth: np.ndarray, turn: float, random: np.random.Generator
) -> np.ndarray:
    """Grey levels of the metal: diffuse and mirrored light, and the grooves of the thread."""
    bulge = np.clip(across / np.maximum(radius, 1e-3), -1, 1)
    groove = (lying.along / PITCH + turn + 0.25 + 0.25 * bulge) % 1
    up = np.sqrt(1 - bulge * bulge)
    slope = np.where(lying.along > THREAD, np.cos(2 * np.pi * groove) * depth / 11, 0) * up
    size = np.sqrt(slope**2 + bulge**2 + up**2)
    light = np.array([-0.45, -0.5, 0.74]) + np.array([*random.normal(0, 0.03, 2), 0])
    cosine, sine = np.cos(lying.angle), np.sin(lying.angle)
    ahead, aside = light[0] * cosine + light[1] * sine, light[1] * cosine - light[0] * sine
    diffuse = np.clip((slope * ahead + bulge * aside + up * light[2]) / size, 0, None)
    mirror = np.clip(
        ((slope * ahead + bulge * aside) / 2 + up * (light[2] + 1) / np.sqrt(2 + 2 * light[2])) / size, 0, 1
    )
    streaks = 14 * cv2.GaussianBlur(random.normal(0, 1, radius.shape).astype(np.float32), (0, 0), 2.5)
    level = 45 + 85 * diffuse + 75 * mirror**18 + streaks
    return np.where((lying.along > THREAD) & (np.abs(groove - 0.5) < 0.08), 0.7 * level, level)


def scratch(along: np.ndarray, across: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Coverage of a scratch on the head."""
    angle = random.uniform(0, np.pi)
    du, dv = along - random.uniform(22, 42), across - random.uniform(-26, 26)
    beside = np.abs(dv * np.cos(angle) - du * np.sin(angle))
    return np.clip(2 - beside, 0, 1) * (np.abs(du * np.cos(angle) + dv * np.sin(angle)) < random.uniform(10, 17))


def dirt(grey: np.ndarray, along: np.ndarray, across: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A speck on the screw."""
    du, dv = along - random.uniform(80, 450), across - random.uniform(-18, 18)
    angle = np.arctan2(dv, du)
    edge = random.uniform(7, 12) * (1 + 0.25 * np.sin(3 * angle + random.uniform(0, 6)) + 0.15 * np.sin(5 * angle))
    cover = np.clip(edge - np.hypot(du, dv) + 0.5, 0, 1)
    return grey * (1 - cover) + cover * random.choice([70, 150, 185])


def disc(random: np.random.Generator, defect: str | None) -> np.ndarray:
    """A turned disc with six holes and a key, at any angle, drawn twice as large."""
    double, radius = 2 * SIDE, 230
    centre, angle = double / 2 + random.uniform(-20, 20, 2), random.uniform(0, 2 * np.pi)

    def at(length: float, turn: float) -> tuple[int, int]:
        x, y = centre + length * np.array([np.cos(angle + turn), np.sin(angle + turn)])
        return int(x), int(y)

    grey = np.full((double, double), 45, np.float32)
    cv2.circle(grey, at(0, 0), radius, (150,), -1, cv2.LINE_AA)
    cv2.circle(grey, at(0, 0), radius - 28, (135,), 6, cv2.LINE_AA)
    gone = int(random.integers(6)) if defect == "missing" else None
    for hole in range(6):
        if hole != gone:
            small = defect == "size" and hole == 0
            cv2.circle(grey, at(156, hole * np.pi / 3), 18 if small else 24, (60,), -1, cv2.LINE_AA)
    cv2.circle(grey, at(0, 0), 52, (60,), -1, cv2.LINE_AA)
    key = np.array([at(90, 0.2), at(90, -0.2), at(64, -0.25), at(64, 0.25)], np.int32)
    cv2.fillPoly(grey, [key], (190,), cv2.LINE_AA)
    if defect == "nick":
        cv2.circle(grey, at(radius, random.uniform(0, 2 * np.pi)), 12, (45,), -1, cv2.LINE_AA)
    grey = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    brushed = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), -np.degrees(angle), 1)
    metal = grey > 100
    grey = grey + 5 * metal * cv2.warpAffine(grain(random, 1, 30), brushed, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    if defect == "scratch":
        lines = (walk(random, random.uniform(25, 50), 0.05) for _ in range(50))
        grey = grey - 35 * next(line for line in lines if metal[line > 0.3].mean() > 0.9)
    return photographed(grey + 4 * grain(random, 1), random, (120, 120, 120), 0.06)


def trunk(random: np.random.Generator, defect: str | None) -> np.ndarray:
    """The demo product: a warning triangle, a first-aid kit and their like, always in the same place."""
    return scene.render(defect or scene.GOOD, random, TRUNK_PX)[0]


PARTS: dict[str, tuple[Draw, tuple[str, ...]]] = {
    "screw": (screw, ("bent", "thread", "missing", "scratch", "dirt")),
    "disc": (disc, ("missing", "size", "nick", "scratch")),
    "trunk": (trunk, tuple(scene.DEVIATIONS)),
}
