"""Inspection's end of the archive: which pictures are kept as evidence, copied into a ring that the archive reads.

1. wanted: every FAIL, every ERROR that shows the part, and a share of PASS chosen by the trigger's id
2. dropped, and counted, where the archive is away or has not given a slot back, or the time until the deadline is short
3. copied: what the recipe looks at, or the whole picture; and the maps behind it
4. hashed, handed to the archive, and named in the verdict

Nothing here waits. What a picture costs is 0.5 ms a megabyte for the hash and a fifth of that for the copy, and only
the verdicts that have one pay for it (`docs/images.md`).
"""

import os
import threading
import time
from collections.abc import Sequence

import numpy as np
import structlog

from edge import cutout, looked_at, picture_file, ring
from edge.archive_retention import is_wanted
from edge.border_config import ArchiveConfig
from edge.channel import Channel, ChannelClosed, ChannelFull, MessageTooLarge
from edge.cutout import Bytes, Cutout
from edge.engine import Done
from edge.errors import GoldlineError
from edge.images import ImageError, as_bgr
from edge.messages import Grant, Keep, Kept, KeptMap
from edge.metrics import Page
from edge.records import FrameRef, Image, Provenance
from edge.ring import Ring

ARCHIVE = "archive"
# A burst of FAILs on their way to a disk; more would be memory that a station rarely uses.
MOST_SLOTS, RING_BYTES = 8, 64 << 20
# One that is written and one that is filled.
LEAST_SLOTS = 2
# Maps are a few hundred cells across; what is beyond this is left out.
MAP_BYTES = 1 << 20
# What is left until the deadline when the verdict is on its way: publish needs a millisecond, on a busy machine five.
LEFT_NS = 5_000_000
# Before a view's first picture: twice what hashing and copying was measured to take.
ASSUMED_NS_A_BYTE = 1
# How fast one slow picture is forgotten: after five it counts half.
FORGET = 7 / 8


class _Dropped(Exception):
    """This picture is not kept; the word is the metric's reason."""


def in_order(batch: Sequence[Done], wanted: frozenset[int]) -> list[Done]:
    """The order to answer in: cameras whose frames need no picture first; those of one camera as they came.

    `wanted`: places in the batch whose picture is wanted.
    """
    slow = {batch[place].queued.frame.camera for place in wanted}
    return sorted(batch, key=lambda done: done.queued.frame.camera in slow)


class PictureKeeper:
    """Owns the ring for the archive. `keep` is for the engine's thread, the rest for the loop's."""

    def __init__(self, config: ArchiveConfig, page: Page) -> None:
        self._config, self._page = config, page
        self._handed = page.counter("goldline_pictures_handed_total")
        self._seconds = page.histogram("goldline_picture_keep_seconds")
        self._lock = threading.Lock()
        self._channel: Channel | None = None
        self._ring: Ring | None = None
        self._descriptor = -1
        self._free: list[int] = []
        # Generation by slot.
        self._lent: dict[int, int] = {}
        # The largest picture that was seen or is to be expected, and that slots were made for.
        self._needed_bytes, self._slot_bytes = 0, 0
        # What a picture of a view lately took.
        self._spent_ns: dict[str, float] = {}

    # --- the loop's side

    def link(self, channel: Channel | None) -> None:
        """A new archive, to which nothing is lent yet; None: there is none any more."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
            self._channel = channel
            self._grant()

    def take_over(self, config: ArchiveConfig) -> None:
        """For pictures from now on."""
        self._config = config

    def expect(self, frame_bytes: int) -> None:
        """Frames are as large as this."""
        self._needed_bytes = max(self._needed_bytes, frame_bytes)

    def grow(self) -> None:
        """Make the ring that pictures need, where it is not there yet. Cheap to ask."""
        if self._channel is None or self._needed_bytes <= self._slot_bytes:
            return
        self._slot_bytes = self._needed_bytes
        slot_bytes = self._slot_bytes + MAP_BYTES
        slots = max(LEAST_SLOTS, min(MOST_SLOTS, RING_BYTES // slot_bytes))
        # Without the lock: it takes tens of milliseconds, and verdicts would wait for it.
        try:
            made = ring.create("goldline-ring-archive", slots, slot_bytes)
        except GoldlineError as problem:
            structlog.get_logger().warning("no pictures are kept", problem=str(problem))
            return
        mapped = Ring(made, slots, slot_bytes)
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor, self._ring = made, mapped
            self._grant()

    def _grant(self) -> None:
        """Every slot is ours again: the archive that had some is gone, or reads them in the ring before."""
        if self._ring is None or self._channel is None:
            return
        slots, slot_bytes = self._ring.slots, self._ring.slot_bytes
        self._free, self._lent = list(range(slots)), {}
        try:
            self._channel.send(Grant(camera=ARCHIVE, slots=slots, slot_bytes=slot_bytes), descriptor=self._descriptor)
        except (ChannelFull, ChannelClosed):
            self._hang_up()

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel = None

    def close(self) -> None:
        """Let the archive see the end."""
        with self._lock:
            self._hang_up()

    # --- the engine's side

    def wants(self, done: Done) -> bool:
        """Whether the picture of this verdict is to be kept, if it can be."""
        share = self._config.share_of_pass
        return self._config.is_on and is_wanted(done.verdict, done.queued.frame.trigger_id, share)

    def ordered(self, batch: Sequence[Done]) -> list[Done]:
        """A batch in the order in which it is answered."""
        return in_order(batch, frozenset(place for place, done in enumerate(batch) if self.wants(done)))

    def keep(self, done: Done, source: Ring, provenance: Provenance, due_ns: int) -> Image | None:
        """Hand the picture of a judged frame to the archive. None: it is not wanted, or was dropped.

        The frame lies in `source`; `due_ns` is the earliest deadline of those that wait for this one.
        """
        if not self.wants(done):
            return None
        started_ns = time.monotonic_ns()
        frame = done.queued.frame
        try:
            with self._lock:
                self._check_time(frame, min(due_ns, frame.deadline_ns) - started_ns)
                image = self._hand(done, source, provenance)
        except (_Dropped, ring.TornFrame, ImageError) as problem:
            reason = str(problem) if isinstance(problem, _Dropped) else "torn"
            self._page.counter("goldline_pictures_dropped_total", stage="inspection", reason=reason).inc()
            return None
        spent_ns = time.monotonic_ns() - started_ns
        self._spent_ns[frame.view] = max(spent_ns, self._spent_ns.get(frame.view, 0.0) * FORGET)
        self._seconds.observe(spent_ns / 1e9)
        self._handed.inc()
        return image

    def _check_time(self, frame: FrameRef, left_ns: int) -> None:
        """Raises _Dropped where a verdict might be late for a picture."""
        expected_ns = self._spent_ns.get(frame.view, float(frame.width * frame.height * ASSUMED_NS_A_BYTE))
        if left_ns < 2 * expected_ns + LEFT_NS:
            self._spent_ns[frame.view] = expected_ns * FORGET
            raise _Dropped("late")

    def _hand(self, done: Done, source: Ring, provenance: Provenance) -> Image:
        """Into a slot, and the archive told of it."""
        self._hear()
        if self._channel is None or self._ring is None:
            raise _Dropped("away")
        if not self._free:
            raise _Dropped("full")
        slot, frame = self._free[-1], done.queued.frame
        self._ring.begin(slot)
        into = self._ring.buffers[slot]
        cut, pixel_format, used = self._copy(done, source.read(frame.slot, frame.generation), into)
        if not source.is_intact(frame.slot, frame.generation):
            raise _Dropped("torn")
        sha256 = picture_file.sha256(into[:used])
        keep = Keep(
            slot=slot,
            generation=self._ring.commit(slot),
            frame=frame,
            verdict=done.verdict,
            provenance=provenance,
            image=Image(ref=f"images/{sha256[:2]}/{sha256}{picture_file.suffix(pixel_format)}", sha256=sha256),
            box=cut.box,
            pixel_format=pixel_format,
            used_bytes=used,
            maps=_put_maps(done, cut, into[used:]),
        )
        self._send(keep)
        return keep.image

    def _send(self, keep: Keep) -> None:
        assert self._channel is not None
        try:
            self._channel.send(keep)
        except MessageTooLarge:
            raise _Dropped("size") from None
        except ChannelFull:
            raise _Dropped("full") from None
        except ChannelClosed:
            raise _Dropped("away") from None
        self._free.remove(keep.slot)
        self._lent[keep.slot] = keep.generation

    def _hear(self) -> None:
        """Take back what the archive has finished with."""
        if self._channel is None:
            return
        try:
            for message in self._channel.drain():
                match message:
                    case Kept(slot=slot, generation=generation):
                        if self._lent.get(slot) == generation:
                            del self._lent[slot]
                            self._free.append(slot)
                    case _:
                        raise RuntimeError(f"unexpected {message}")
        except ChannelClosed:
            self._hang_up()

    def _copy(self, done: Done, buffer: Bytes, into: Bytes) -> tuple[Cutout, str, int]:
        """What is kept of it, its format, and how many bytes that is. Raises _Dropped or ImageError."""
        frame = done.queued.frame
        size, pixel_format = (frame.width, frame.height), frame.pixel_format
        if pixel_format == "JPEG" and self._config.whole_pictures:
            return self._copy_file(cutout.whole(size), buffer[: frame.used_bytes], into)
        if pixel_format == "JPEG":
            # Nothing can be cut out of a JPEG but what it shows.
            buffer, pixel_format = as_bgr(buffer, *size, pixel_format, frame.used_bytes).reshape(-1), "BGR8"
        cut = self._cutout(done, pixel_format)
        used = cutout.copy(buffer, size, pixel_format, cut, into)
        if used is None:
            self._ask_for_room(cut, pixel_format)
            raise _Dropped("size")
        return cut, pixel_format, used

    def _copy_file(self, cut: Cutout, content: Bytes, into: Bytes) -> tuple[Cutout, str, int]:
        if content.size > into.size:
            raise _Dropped("size")
        into[: content.size] = content
        return cut, "JPEG", content.size

    def _ask_for_room(self, cut: Cutout, pixel_format: str) -> None:
        """A picture was larger than its frame in the camera's ring; the loop makes room."""
        found = cutout.layout(cut.box[2:], pixel_format)
        if found is not None:
            self._needed_bytes = max(self._needed_bytes, found.bytes)

    def _cutout(self, done: Done, pixel_format: str) -> Cutout:
        frame = done.queued.frame
        size = (frame.width, frame.height)
        if self._config.whole_pictures:
            return cutout.whole(size)
        inspector = done.inspector.views.get(done.prepared.role)
        found = (
            None
            if inspector is None
            else cutout.around(looked_at.polygons(inspector, done.prepared), size, pixel_format)
        )
        if found is None:
            raise _Dropped("no_region")
        return found


def _put_maps(done: Done, cut: Cutout, room: Bytes) -> tuple[KeptMap, ...]:
    """Behind the pixels, as far as there is room; a frame that was not scored has none."""
    inspector = done.inspector.views.get(done.prepared.role)
    if inspector is None or done.prepared.refusal is not None:
        return ()
    put: list[KeptMap] = []
    used = 0
    for kept, levels in looked_at.maps(inspector, done.prepared, done.scores, cut.box[:2]):
        if used + levels.size <= min(room.size, MAP_BYTES):
            room[used : used + levels.size] = np.ravel(levels)
            used += levels.size
            put.append(kept)
    return tuple(put)
