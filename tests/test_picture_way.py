"""The way of a picture of any format: out of the camera's ring, over the archive's, to the disk, and out for people."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from edge import archive_reader, archive_record, cutout, picture_file, ring
from edge.archive_index import Wanted
from edge.archive_writer import Picture, _files, _taken
from edge.batcher import Queued
from edge.border_config import ArchiveConfig
from edge.messages import Grant, Keep
from edge.metrics import Page, page_size
from edge.picture_keeper import PictureKeeper
from edge.pixel_formats import PIXEL_FORMATS
from edge.records import FrameRef, Outcome, Verdict
from edge.ring import Ring
from tests import pictures, values

SIZE = (64, 48)
FAR_NS = 10**15


def keeper() -> PictureKeeper:
    memory = os.memfd_create("page")
    os.posix_fallocate(memory, 0, page_size("inspection", ("left",)))
    page = Page(memory, "inspection", ("left",))
    os.close(memory)
    return PictureKeeper(ArchiveConfig(whole_pictures=True), page)


def mapped(memory: int, slots: int, slot_bytes: int) -> Ring:
    made = Ring(memory, slots, slot_bytes)
    os.close(memory)
    return made


def failed(frame: FrameRef) -> Any:
    """A part that failed; of what judged it the keeper asks no more."""
    return SimpleNamespace(
        queued=Queued(frame=frame, graph="main"), prepared=SimpleNamespace(role="main", refusal=None), scores=None,
        inspector=SimpleNamespace(views={}), verdict=Verdict(outcome=Outcome.FAIL, score=9.0),
    )  # fmt: skip


def content_of(pixel_format: str) -> np.ndarray:
    """What a camera sends: any bytes; a JPEG is one."""
    if pixel_format != "JPEG":
        return pictures.pixels(1, PIXEL_FORMATS[pixel_format].frame_bytes(SIZE[0] * SIZE[1]))
    return np.asarray(cv2.imencode(".jpg", pictures.pixels(1, SIZE[0] * SIZE[1]).reshape(SIZE[::-1]))[1], np.uint8)


@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
def test_a_picture_of_any_format_comes_out_of_the_archive_as_the_camera_sent_it(
    channels: Any, tmp_path: Path, pixel_format: str
) -> None:
    content = content_of(pixel_format)
    camera = mapped(ring.create("camera", 1, content.size), 1, content.size)
    camera.begin(0)
    camera.buffers[0][:] = content
    frame = msgspec.structs.replace(
        values.frame(7), slot=0, generation=camera.commit(0), deadline_ns=FAR_NS, width=SIZE[0], height=SIZE[1],
        pixel_format=pixel_format, used_bytes=content.size,
    )  # fmt: skip
    ours, archive = channels()
    keeping = keeper()
    keeping.expect(content.size)
    keeping.link(ours)
    keeping.grow()
    grant, memory = archive.receive_with_descriptor()
    assert isinstance(grant, Grant)
    granted = mapped(memory, grant.slots, grant.slot_bytes)
    image = keeping.keep(failed(frame), camera, values.PROVENANCE, FAR_NS)
    keep = archive.receive()
    assert isinstance(keep, Keep)
    store = pictures.opened(tmp_path)
    store.put(archive_record.sidecar(keep), _files(keep, *_taken(Picture(keep, granted, archive))), pictures.instant())
    (row,) = archive_reader.find(tmp_path, Wanted(text="7"))
    kept = archive_reader.read(tmp_path, row)
    assert image is not None
    assert (kept.pixels == content).all()
    assert row.sha256 == image.sha256 == picture_file.sha256(content)
    assert (tmp_path / image.ref).is_file(), "where the event says that it is"
    exported = archive_reader.export(kept, tmp_path / "out", only_kept=False)
    assert (cv2.imread(str(exported)) == cutout.as_picture(content, SIZE, pixel_format)).all()
    assert pictures.assert_agrees(tmp_path) == 1
