"""Inspection's end of the archive: what is handed over, what is dropped and why, and that nothing waits."""

import os
import threading
import time
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from edge import announce, channel, picture_file, ring
from edge.archive_writer import Picture, _taken
from edge.batcher import Queued
from edge.border_config import ArchiveConfig
from edge.channel import MAX_MESSAGE_BYTES, Channel, MessageTooLarge
from edge.events import Source
from edge.ledger import Decision, Origin, View
from edge.messages import Grant, Judged, Keep, Kept
from edge.metrics import Page, page_size
from edge.mouth import Mouth
from edge.picture_keeper import LEAST_SLOTS, PictureKeeper, in_order
from edge.records import CheckScore, Defect, Image, Limits, Outcome, Reason, Verdict, error
from edge.ring import Ring, TornFrame
from tests import values

SIZE = (64, 48)
FAIL = Verdict(outcome=Outcome.FAIL, score=9.0)
PASS = Verdict(outcome=Outcome.PASS, score=0.5)
FAR_NS = 10**15


class Bench:
    """A keeper, the camera's ring, and the test as the archive."""

    def __init__(self, channels: Any, **config: Any) -> None:
        page = os.memfd_create("page")
        os.posix_fallocate(page, 0, page_size("inspection", ("left",)))
        self.page = Page(page, "inspection", ("left",))
        os.close(page)
        self.keeper = PictureKeeper(ArchiveConfig(whole_pictures=True, **config), self.page)
        self.bytes = SIZE[0] * SIZE[1]
        memory = ring.create("camera", 1, self.bytes)
        self.camera = Ring(memory, 1, self.bytes)
        os.close(memory)
        self.channels = channels
        self.archive: Channel | None = None
        self.granted: Ring | None = None

    def link(self) -> None:
        ours, self.archive = self.channels()
        self.keeper.expect(self.bytes)
        self.keeper.link(ours)
        self.keeper.grow()
        assert self.archive is not None
        heard = self.archive.receive_with_descriptor()
        assert heard is not None
        grant, memory = heard
        assert isinstance(grant, Grant) and memory is not None
        self.granted = Ring(memory, grant.slots, grant.slot_bytes)
        os.close(memory)

    def done(self, trigger_id: int, verdict: Verdict = FAIL, deadline_ns: int = FAR_NS, **frame: Any) -> Any:
        self.camera.begin(0)
        self.camera.buffers[0][:] = np.random.default_rng(trigger_id).integers(0, 256, self.bytes, np.uint8)
        made = msgspec.structs.replace(
            values.frame(trigger_id), slot=0, generation=self.camera.commit(0),
            deadline_ns=deadline_ns, **({"width": SIZE[0], "height": SIZE[1]} | frame),
        )  # fmt: skip
        prepared = SimpleNamespace(role="main", refusal=None)
        inspector = SimpleNamespace(views={})
        return SimpleNamespace(
            queued=Queued(frame=made, graph="main"),
            prepared=prepared,
            scores=None,
            inspector=inspector,
            verdict=verdict,
        )

    def keep(self, done: Any) -> Image | None:
        return self.keeper.keep(done, self.camera, values.PROVENANCE, FAR_NS)

    def heard(self) -> Keep:
        assert self.archive is not None
        message = self.archive.receive()
        assert isinstance(message, Keep)
        return message

    def dropped(self) -> dict[str, float]:
        return {
            one.labels[1]: found[0]
            for one, found in self.page.read()
            if one.metric.name == "goldline_pictures_dropped_total" and found[0]
        }


@pytest.fixture
def bench(channels: Any) -> Bench:
    return Bench(channels)


def test_the_archive_gets_the_pixels_that_were_judged_under_their_hash(bench: Bench) -> None:
    bench.link()
    image = bench.keep(bench.done(7))
    assert image is not None
    assert image.sha256 == picture_file.sha256(bench.camera.buffers[0])
    assert image.ref == f"images/{image.sha256[:2]}/{image.sha256}.png"
    keep = bench.heard()
    assert (keep.frame.trigger_id, keep.image, keep.box, keep.pixel_format) == (7, image, (0, 0, *SIZE), "Mono8")
    assert bench.granted is not None and bench.archive is not None
    pixels, _ = _taken(Picture(keep, bench.granted, bench.archive))
    assert (pixels == bench.camera.buffers[0]).all()


def test_what_was_overwritten_in_the_archives_ring_is_not_filed(bench: Bench) -> None:
    bench.link()
    bench.keep(bench.done(7))
    keep = bench.heard()
    assert bench.granted is not None and bench.archive is not None
    bench.granted.buffers[keep.slot][5] ^= 1
    with pytest.raises(TornFrame, match="other pixels"):
        _taken(Picture(keep, bench.granted, bench.archive))


def test_a_slow_archive_costs_pictures_and_gives_slots_back_when_it_likes(bench: Bench) -> None:
    bench.link()
    assert bench.granted is not None and bench.archive is not None
    slots = bench.granted.slots
    assert slots >= LEAST_SLOTS
    kept = [bench.keep(bench.done(number)) for number in range(slots + 3)]
    assert [image is not None for image in kept] == [True] * slots + [False] * 3
    assert bench.dropped() == {"full": 3}
    keep = bench.heard()
    bench.archive.send(Kept(slot=keep.slot, generation=keep.generation + 2))
    assert bench.keep(bench.done(50)) is None, "a word about another picture gives nothing back"
    bench.archive.send(Kept(slot=keep.slot, generation=keep.generation))
    assert bench.keep(bench.done(51)) is not None


def test_a_dead_archive_costs_pictures_and_its_successor_gets_every_slot(bench: Bench) -> None:
    assert bench.keep(bench.done(1)) is None
    bench.link()
    assert bench.keep(bench.done(2)) is not None
    assert bench.archive is not None
    bench.archive.close()
    assert bench.keep(bench.done(3)) is None
    assert bench.dropped() == {"away": 2}
    bench.link()
    assert bench.granted is not None
    assert all(bench.keep(bench.done(number)) for number in range(4, 4 + bench.granted.slots))


def test_no_verdict_is_late_for_a_picture(bench: Bench) -> None:
    bench.link()
    assert bench.keep(bench.done(1, deadline_ns=time.monotonic_ns() + 1_000_000)) is None
    assert bench.keep(bench.done(2, deadline_ns=time.monotonic_ns() - 1)) is None
    assert bench.keeper.keep(bench.done(3), bench.camera, values.PROVENANCE, time.monotonic_ns() + 1_000_000) is None
    assert bench.dropped() == {"late": 3}
    assert bench.keep(bench.done(4)) is not None


def test_a_view_that_was_slow_once_is_tried_again(bench: Bench) -> None:
    bench.link()
    bench.keeper._spent_ns["left"] = 4e9
    tries = 0
    while bench.keep(bench.done(tries, deadline_ns=time.monotonic_ns() + 2 * 10**9)) is None:
        tries += 1
        assert tries < 50
    assert tries > 5


def test_what_the_camera_overwrote_meanwhile_is_not_kept(bench: Bench) -> None:
    bench.link()
    done = bench.done(1)
    bench.camera.begin(0)
    assert bench.keep(done) is None
    assert bench.dropped() == {"torn": 1}


def test_a_picture_larger_than_its_slot_is_dropped_and_the_next_has_room(bench: Bench) -> None:
    bench.link()
    bench.keeper._needed_bytes = 0
    small = bench.keeper._slot_bytes
    assert bench.granted is not None
    done = bench.done(1, width=SIZE[0], height=10**5)
    big = np.zeros(SIZE[0] * 10**5, np.uint8)
    source: Any = SimpleNamespace(read=lambda *_: big, is_intact=lambda *_: True)
    assert bench.keeper.keep(done, source, values.PROVENANCE, FAR_NS) is None
    assert bench.dropped() == {"size": 1}
    bench.keeper.grow()
    assert bench.keeper._slot_bytes == big.size > small
    assert bench.keeper.keep(done, source, values.PROVENANCE, FAR_NS) is not None


def test_no_verdict_waits_while_a_larger_ring_is_made(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.link()
    make, kept = ring.create, list[Image | None]()

    def slow(name: str, slots: int, slot_bytes: int) -> int:
        engine = threading.Thread(target=lambda: kept.append(bench.keep(bench.done(1))))
        engine.start()
        engine.join(20)
        assert kept, "a verdict waited"
        return make(name, slots, slot_bytes)

    monkeypatch.setattr(ring, "create", slow)
    bench.keeper.expect(4 * bench.bytes)
    bench.keeper.grow()
    assert kept[0] is not None


def test_a_message_that_does_not_fit_a_packet_costs_the_picture_and_not_the_verdict(bench: Bench) -> None:
    bench.link()
    limits = Limits(review=1.0, fail=2.0)
    checks = {f"region{number}.code": CheckScore(score=2.0, limits=limits, found="x" * 300) for number in range(300)}
    defects = tuple(Defect(check="a", bbox=(1, 2, 3, 4), score=9.0) for _ in range(16))
    large = msgspec.structs.replace(FAIL, checks=checks, defects=defects, detail="because")
    assert bench.keep(bench.done(1, large)) is None
    assert bench.dropped() == {"size": 1}
    near, far = bench.channels()
    with pytest.raises(MessageTooLarge):
        near.send(msgspec.structs.replace(values.judged(1), verdict=large))
    mouth = Mouth()
    mouth.connect(near)
    mouth.say(msgspec.structs.replace(values.judged(1), verdict=large))
    mouth.say(values.judged(2))
    first, second = far.drain()
    assert isinstance(first, Judged) and isinstance(second, Judged)
    assert (first.verdict.outcome, first.verdict.score, first.verdict.defects) == (Outcome.FAIL, 9.0, defects)
    assert first.verdict.detail == "too much to tell of 300 checks: because"
    assert second.frame.trigger_id == 2
    assert len(channel._encode(first)) < MAX_MESSAGE_BYTES


def test_only_what_is_wanted_is_kept(channels: Any) -> None:
    bench = Bench(channels, share_of_pass=0.0)
    bench.link()
    assert bench.keep(bench.done(1, PASS)) is None
    assert bench.keep(bench.done(2, error(Reason.TORN))) is None
    assert bench.keep(bench.done(3, error(Reason.CANNOT_JUDGE))) is not None
    assert bench.dropped() == {}
    off = Bench(channels, is_on=False)
    assert off.keep(off.done(1)) is None and off.dropped() == {}


def test_who_needs_no_picture_is_answered_first_but_one_cameras_parts_stay_in_order(bench: Bench) -> None:
    batch = [
        bench.done(number, FAIL if number == 2 else PASS, camera=camera, view=camera)
        for number, camera in enumerate(("left", "right", "left", "right", "left", "top"))
    ]
    ordered = [done.queued.frame.trigger_id for done in in_order(batch, frozenset({2}))]
    assert ordered == [1, 3, 5, 0, 2, 4]


def test_the_event_names_the_picture_of_each_view() -> None:
    image = Image(ref="images/ab/ab.png", sha256="ab")
    origin = Origin(frame=values.frame(3), provenance=values.PROVENANCE, timing=values.TIMING, image=image)
    source = Source(site="-", line="-", station="s")
    view = View(verdict=FAIL, origin=origin)
    single = Decision(trigger=values.trigger(3), verdict=FAIL, views={"left": view}, decided_ns=values.OPENED_NS)
    result = announce.result_event(source, single, is_simulated=False).data
    assert (result.image_ref, result.image_sha256) == ("images/ab/ab.png", "ab")
    trigger = values.trigger(3, views=("top", "side"))
    views = {"top": view, "side": View(verdict=PASS)}
    several = Decision(trigger=trigger, verdict=FAIL, views=views, decided_ns=values.OPENED_NS)
    result = announce.result_event(source, several, is_simulated=False).data
    assert result.image_sha256 is None
    assert {name: one.image_sha256 for name, one in result.views.items()} == {"top": "ab", "side": None}
