"""How one camera view becomes the regions that are judged: the same in teach and on the line."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge import geometry, register
from edge.records import Pose

Image = NDArray[np.uint8]
Size = tuple[int, int]
Box = tuple[int, int, int, int]

# A region of which less than this share lies in the picture cannot be judged: the rest is repeated edge.
LEAST_VISIBLE = 0.8


@dataclass(frozen=True)
class View:
    """A view's registration. With `any_size` frames may have every size: they are stretched to the golden picture's.

    By the registration "silhouette" they are not, as the part is cut out at its own size. With `normalised` regions are
    brought to the golden picture's brightness.
    """

    registration: register.Registration
    any_size: bool
    normalised: bool

    @property
    def size(self) -> Size:
        """(width, height) of the golden picture."""
        return self.registration.image_size

    def refusal(self, image: Image) -> str | None:
        """Why a frame [h, w, 3] is not of this view; None when it may be."""
        size, taught = _size(image), self.registration.frame_size
        if self.any_size or size == taught:
            return None
        return f"the frame is {size[0]} x {size[1]}, the reference set was taught at {taught[0]} x {taught[1]}"

    def align(self, image: Image) -> register.Alignment:
        """Where the golden picture lies in a frame."""
        if self.any_size and self.registration.part is None:
            return register.Alignment(Pose(), 1.0, 1.0)
        return register.align(self.registration, image)

    def cut(self, image: Image, alignment: register.Alignment, box: Box, size: Size) -> Image:
        """The region `box` of the golden picture, from a frame, as [size h, size w, 3]."""
        region = geometry.warp(image, box, alignment.pose, self.size, size, self._posed(_size(image)))
        return register.normalise(region, alignment.gain) if self.normalised else region

    def hidden(self, box: Box, pose: Pose) -> str | None:
        """Why a region cannot be judged at a pose; None when enough of it lies in the picture.

        A part found by its silhouette lies in the picture; what may not is the background around it.
        """
        if self.registration.part is not None:
            return None
        visible = geometry.visible_share(box, pose, self.size)
        return None if visible >= LEAST_VISIBLE else f"only {visible:.0%} of it lies in the picture"

    def seen(self, box: Box, size: Size, pose: Pose, frame: Size) -> Image | None:
        """Which pixels of a cut of this box show the frame: [size h, size w], 255 or 0; None where all do."""
        posed = self._posed(frame)
        if geometry.inside(box, pose, self.size, posed):
            return None
        mask = geometry.seen(box, pose, self.size, size, posed)
        return None if mask.all() else mask

    def to_frame(self, box: Box, region_box: Box, grid: Size, pose: Pose, frame: Size) -> Box:
        """A box in a region's map of `grid` (width, height), as pixels of a frame of size `frame`."""
        posed = self._posed(frame)
        x, y, width, height = geometry.to_image(box, region_box, pose, self.size, grid, posed)
        if frame == posed:
            return x, y, width, height
        across, down = (real / taught for real, taught in zip(frame, posed, strict=True))
        return int(x * across), int(y * down), max(1, int(width * across)), max(1, int(height * down))

    def to_frame_map(
        self, values: NDArray[np.float32], region_box: Box, pose: Pose, frame: Size
    ) -> NDArray[np.float32]:
        """A region's map [h, w] laid over a frame of size `frame`: [frame h, frame w], its least value elsewhere."""
        x, y, width, height = region_box
        placed = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
        posed = self._posed(frame)
        matrix = geometry.pose_matrix(pose, self.size, posed) @ np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])
        laid = cv2.warpAffine(placed, matrix[:2], posed, borderValue=float(values.min()))
        return np.asarray(laid if frame == posed else cv2.resize(laid, frame), np.float32)

    def matrix(self, pose: Pose, frame: Size) -> geometry.Matrix:
        """[3, 3]: px of the golden picture to px of a frame of size `frame`."""
        posed = self._posed(frame)
        return geometry.region_matrix((0, 0, *frame), posed) @ geometry.pose_matrix(pose, self.size, posed)

    def _posed(self, frame: Size) -> Size:
        """The size of the picture in which a frame's pose holds: a part's is in the frame's own pixels."""
        return self.size if self.registration.part is None else frame


def _size(image: Image) -> Size:
    return image.shape[1], image.shape[0]
