"""Photographs of the demo trunk whose warning triangle lies where a test puts it."""

import math

import cv2
import numpy as np

from edge.cameras import scene, trunk
from edge.cameras.load_floor import SPOT
from edge.geometry import pose_matrix
from edge.records import Offset, Pose

SIZE = trunk.DRAWN
# The triangle's box as an engineer would draw it, x, y, width, height.
TRIANGLE = (545, 195, 376, 352)


def floor(dx=0.0, dy=0.0, turn_deg=0.0):
    """The floor with the triangle moved and turned about its own centre; not to be written to."""
    return trunk._with(trunk.triangle(), (SPOT[0] + dx, SPOT[1] + dy), turn_deg)


def photograph(picture, seed=0, pose=None):
    """As the camera sees it: light, noise, and the pose of the part."""
    matrix = pose_matrix(pose or Pose(), SIZE)[:2]
    posed = cv2.warpAffine(picture, matrix, SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return scene._photograph(np.asarray(posed, np.uint8), np.random.default_rng(seed))


def offset_of(dx, dy, turn_deg, box=TRIANGLE):
    """Where the middle of a box that goes along with the triangle comes to."""
    angle = math.radians(turn_deg)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    reach = np.array([box[0] + box[2] / 2 - SPOT[0], box[1] + box[3] / 2 - SPOT[1]])
    moved = turn @ reach - reach + (dx, dy)
    return Offset(dx_px=float(moved[0]), dy_px=float(moved[1]), angle_deg=turn_deg)
