"""An open video device of Linux: what it is and what it delivers, asked in the kernel's words."""

import ctypes
import errno
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import msgspec

from edge.cameras import v4l2_kernel as kernel
from edge.cameras.v4l2_kernel import Capability, Request

_CAN = Capability.VIDEO_CAPTURE | Capability.STREAMING
# Rates are fractions of whole numbers in the kernel: 29.97 is 30000/1001.
_LARGEST_DENOMINATOR = 1001


@contextmanager
def where_there_is() -> Generator[None, None, None]:
    """Ends quietly where the driver says that there is no such thing (ENOTTY) or no more of it (EINVAL).

    Any other OSError goes on: a device that is unplugged meanwhile must not look like one that has less.
    """
    try:
        yield
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.ENOTTY):
            raise


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """How the device lays out its pictures. `line_bytes` is 0 for compressed ones, `picture_bytes` then the most."""

    width: int
    height: int
    fourcc: str
    line_bytes: int
    picture_bytes: int


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What the driver says of the device, and what USB says of it where it is one."""

    driver: str
    card: str
    bus: str
    vendor: str
    serial: str


class Device:
    """An open device. `fileno` is not blocking. Any method raises OSError as the kernel does."""

    def __init__(self, path: Path) -> None:
        """Opens it. Raises OSError, ENOTTY when it is no video device that delivers pictures one by one."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._capabilities = self._query()
        except OSError:
            self.close()
            raise

    def _query(self) -> kernel.Capabilities:
        capabilities = kernel.Capabilities()
        self.call(Request.QUERYCAP, capabilities)
        if capabilities.device_caps & Capability.VIDEO_CAPTURE_MPLANE:
            raise OSError(errno.ENOTTY, "its pictures come in several planes, which this camera source does not read")
        if capabilities.device_caps & _CAN != _CAN:
            raise OSError(errno.ENOTTY, "it delivers no pictures; of a camera's nodes take the one that ends in index0")
        return capabilities

    def fileno(self) -> int:
        """The open descriptor."""
        return self._descriptor

    def call(self, request: Request, argument: ctypes.Structure | ctypes.c_int) -> None:
        """One ioctl."""
        kernel.call(self._descriptor, request, argument)

    def close(self) -> None:
        """Ends everything that was begun with it."""
        os.close(self._descriptor)

    def identity(self) -> Identity:
        """Who it is."""
        usb = _usb_folder(os.fstat(self._descriptor).st_rdev)
        driver, card, bus = (
            getattr(self._capabilities, field).decode("utf-8", "replace") for field in ("driver", "card", "bus_info")
        )
        vendor, serial = (_text(usb / file) if usb else "" for file in ("manufacturer", "serial"))
        return Identity(driver=driver, card=card, bus=bus, vendor=vendor or driver, serial=serial or bus)

    def is_busy(self) -> bool:
        """Whether another program streams from it."""
        try:
            self.request_buffers(0, kernel.MEMORY_MMAP)
        except OSError as problem:
            return problem.errno == errno.EBUSY
        return False

    # --- pictures

    def fourccs(self) -> list[str]:
        """The formats it has."""
        described = kernel.FormatDescription(type=kernel.VIDEO_CAPTURE)
        return [kernel.fourcc_text(described.pixelformat) for _ in self._listed(Request.ENUM_FMT, described)]

    def sizes(self, fourcc: str) -> list[tuple[int, int]]:
        """Width and height of what it has in this format; empty where they are not a list."""
        size = kernel.FrameSize(pixel_format=kernel.fourcc(fourcc))
        listed = self._listed(Request.ENUM_FRAMESIZES, size)
        return [(size.width, size.height) for _ in listed if size.type == kernel.DISCRETE]

    def rates_hz(self, layout: Layout) -> list[float]:
        """The rates it has at this size and format; empty where they are not a list."""
        code = kernel.fourcc(layout.fourcc)
        interval = kernel.FrameInterval(pixel_format=code, width=layout.width, height=layout.height)
        listed = self._listed(Request.ENUM_FRAMEINTERVALS, interval)
        return [_rate_hz(interval.discrete) for _ in listed if interval.type == kernel.DISCRETE]

    def set_layout(self, width: int, height: int, fourcc: str) -> Layout:
        """Asks for this and returns what the device took, whole pictures (not half of the lines at a time)."""
        asked = kernel.Format(type=kernel.VIDEO_CAPTURE)
        pix = asked.fmt.pix
        pix.width, pix.height, pix.pixelformat, pix.field = width, height, kernel.fourcc(fourcc), kernel.FIELD_NONE
        self.call(Request.S_FMT, asked)
        if pix.field != kernel.FIELD_NONE:
            raise OSError(errno.ENOTTY, "it delivers interlaced pictures")
        return Layout(
            width=pix.width,
            height=pix.height,
            fourcc=kernel.fourcc_text(pix.pixelformat),
            line_bytes=pix.bytesperline,
            picture_bytes=pix.sizeimage,
        )

    def rate_hz(self) -> float | None:
        """Pictures a second; None where it does not tell."""
        parameters = kernel.StreamParameters(type=kernel.VIDEO_CAPTURE)
        with where_there_is():
            self.call(Request.G_PARM, parameters)
        return _rate_hz(parameters.timeperframe) or None

    def set_rate(self, rate_hz: float) -> float | None:
        """Asks for a rate and returns what the device took; None where it has none to set."""
        rate = Fraction(rate_hz).limit_denominator(_LARGEST_DENOMINATOR)
        parameters = kernel.StreamParameters(type=kernel.VIDEO_CAPTURE)
        parameters.timeperframe = kernel.Fraction(rate.denominator, rate.numerator)
        with where_there_is():
            self.call(Request.S_PARM, parameters)
        return self.rate_hz()

    # --- streaming

    def request_buffers(self, count: int, memory: int) -> int:
        """How many buffers there are now; 0 asked for lets them all go."""
        request = kernel.RequestBuffers(count=count, type=kernel.VIDEO_CAPTURE, memory=memory)
        self.call(Request.REQBUFS, request)
        return request.count

    def stream(self, *, on: bool) -> None:
        """Starts or ends streaming; ended, no buffer is written any more."""
        self.call(Request.STREAMON if on else Request.STREAMOFF, ctypes.c_int(kernel.VIDEO_CAPTURE))

    def _listed(
        self, request: Request, item: kernel.FormatDescription | kernel.FrameSize | kernel.FrameInterval
    ) -> Iterator[None]:
        """Fills `item` again and again until the list ends."""
        with where_there_is():
            while True:
                self.call(request, item)
                yield
                item.index += 1


def _usb_folder(number: int) -> Path | None:
    """The folder of the USB device that this device number belongs to."""
    device = Path(f"/sys/dev/char/{os.major(number)}:{os.minor(number)}/device").resolve()
    return next((folder for folder in (device, *device.parents) if (folder / "idVendor").is_file()), None)


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _rate_hz(period: kernel.Fraction) -> float:
    return period.denominator / period.numerator if period.numerator else 0.0
