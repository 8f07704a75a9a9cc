"""PROCESS ring → batch → register → graph → judge → verdict, one an accelerator.

The loop receives frames, lets the batcher choose, and registers them; the engine's thread runs the graph and judges.
A verdict goes to the ledger first and the slot back to capture after, so a death in between costs an answer given
twice, of which the first stands, and never a lost one. Verdicts the ledger may not have read before it died are said
again when it is back.
"""

import os
import socket
import threading
import time

from edge.batcher import Batch, Batcher, Queued
from edge.channel import Channel, ChannelClosed
from edge.engine import Done, Engine, Job
from edge.errors import GoldlineError
from edge.images import ImageError, as_bgr
from edge.inspection_tally import InspectionTally
from edge.inspector import Inspector, Prepared
from edge.job_file import InForce, read_in_force
from edge.judging import Judging, load_first
from edge.messages import Abandon, Commit, Frame, Grant, Hello, Judged, Link, Offer, Prepare, Release, Stop
from edge.metrics import State
from edge.mouth import Mouth
from edge.picture_keeper import PictureKeeper
from edge.poller import Poller
from edge.records import FrameRef, Image, Reason, Timing, Verdict, error
from edge.ring import Ring, TornFrame
from edge.switching import Switching
from edge.worker import WorkerContext

POLL_S = 0.2
# With words unsaid (the ledger is away, or its socket full) the loop looks again this soon.
UNSAID_POLL_S = 0.01
# Frames still waiting when told to stop are judged for so long.
DRAIN_S = 2.0


def run(context: WorkerContext) -> None:
    """The process: load and warm up, loop, tear down."""
    wanted = read_in_force(context.station, context.generation)
    if wanted.product is None:
        raise GoldlineError("configuration: product: name the product this station inspects")
    context.page.beat(State.WARMUP, time.monotonic_ns())
    Inspection(context, load_first(context.station, wanted.product, wanted.variant), wanted).loop()


class Inspection:
    """The loop around the engine."""

    def __init__(self, context: WorkerContext, inspector: Inspector, wanted: InForce) -> None:
        self._control, self._page = context.control, context.page
        station = context.station
        self._tally = InspectionTally(self._page, station.views)
        self._batcher = Batcher()
        self._engine = Engine(self._done, self._is_intact)
        self._mouth = Mouth()
        self._keeper = PictureKeeper(station.archive, context.page)
        self._by = Switching(context, inspector, wanted, self._mouth, lambda new: self._keeper.take_over(new.archive))
        self._publish: Channel | None = None
        self._rings: dict[str, Ring] = {}
        self._captures: dict[str, Channel] = {}
        # Frames that are ours, by camera, slot and generation, with the ring they lie in. Whoever removes one tells
        # capture before anybody else says which slots are held: a slot named after its release would stay lent.
        self._held: dict[tuple[str, int, int], Ring] = {}
        self._holding = threading.Lock()
        self._stopping = False
        self._poller = Poller()
        self._poller.listen(self._control.fileno(), self._hear_supervisor)
        self._poller.listen(self._engine.wake, self._engine.awake)
        self._by.listen(self._poller)

    def loop(self) -> None:
        """Until told to stop and nothing is in hand, or the time for that is over."""
        stop_by_s = float("inf")
        # Whoever sees by the first beat that it is ready may trigger: publish has heard of it before.
        self._poller.turn(0)
        while time.monotonic() < stop_by_s and not (self._stopping and not self._held and not self._mouth.has_unsaid):
            self._beat()
            self._poller.turn(UNSAID_POLL_S if self._mouth.has_unsaid else POLL_S)
            self._by.turn(self._feed_all, time.monotonic_ns())
            self._mouth.say()
            while self._engine.has_room and len(self._batcher):
                self._feed_next()
            if self._stopping and stop_by_s == float("inf"):
                stop_by_s = time.monotonic() + DRAIN_S
        self._close()

    def _close(self) -> None:
        """Finish the batch in the graph and let every peer see the end."""
        self._engine.stop()
        self._keeper.close()
        self._unlink_publish()
        for channel in self._captures.values():
            self._hang_up(channel)
        self._captures.clear()

    def _beat(self) -> None:
        now_ns = time.monotonic_ns()
        if not self._engine.is_alive(now_ns):
            raise RuntimeError("the engine's thread hangs or has failed")
        self._page.beat(State.BUSY if self._held else State.IDLE, now_ns, in_flight=len(self._held))
        self._keeper.grow()

    def _hang_up(self, channel: Channel) -> None:
        self._poller.forget(channel.fileno())
        channel.close()

    # --- what the supervisor says

    def _hear_supervisor(self) -> None:
        while (heard := self._control.receive_with_descriptor()) is not None:
            match heard:
                case Stop(), _:
                    self._stopping = True
                case (Offer() | Commit() | Abandon()) as said, descriptor:
                    self._by.hear(said, descriptor)
                case Grant() as grant, int(descriptor):
                    self._take_ring(grant, descriptor)
                case Link(peer="publish"), int(descriptor):
                    self._link_publish(Channel(socket.socket(fileno=descriptor)))
                case Link(peer="archive"), int(descriptor):
                    self._keeper.link(Channel(socket.socket(fileno=descriptor)))
                case Link(peer=peer), int(descriptor):
                    self._link_capture(peer.partition("@")[2], Channel(socket.socket(fileno=descriptor)))
                case message, _:
                    raise RuntimeError(f"unexpected {message}")

    def _take_ring(self, grant: Grant, descriptor: int) -> None:
        """What the camera's process sent before lies in the ring before; it may be dead, and its end not read yet."""
        if grant.camera in self._captures:
            self._hear_capture(grant.camera)
        self._rings[grant.camera] = Ring(descriptor, grant.slots, grant.slot_bytes)
        self._keeper.expect(grant.slot_bytes)
        os.close(descriptor)

    def _link_publish(self, channel: Channel) -> None:
        self._unlink_publish()
        self._publish = channel
        self._poller.listen(channel.fileno(), self._hear_publish)
        self._mouth.connect(channel, self._by.prepared)

    def _hear_publish(self) -> None:
        assert self._publish is not None
        try:
            for message in self._publish.drain():
                match message:
                    case Prepare():
                        self._by.order(message, time.monotonic_ns())
                    case _:
                        raise RuntimeError(f"unexpected {message}")
        except ChannelClosed:
            self._unlink_publish()

    def _unlink_publish(self) -> None:
        if self._publish is not None:
            self._mouth.connect(None)
            self._hang_up(self._publish)
            self._publish = None

    def _link_capture(self, camera: str, channel: Channel) -> None:
        if camera in self._captures:
            self._hang_up(self._captures.pop(camera))
        self._poller.listen(channel.fileno(), lambda: self._hear_capture(camera))
        with self._holding:
            self._captures[camera] = channel
            held = tuple(slot for holder, slot, _ in self._held if holder == camera)
            self._tell_capture(camera, Hello(held=held))

    def _tell_capture(self, camera: str, message: Hello | Release) -> None:
        channel = self._captures.get(camera)
        if channel is None:
            return
        try:
            channel.send(message)
        except ChannelClosed:
            return  # its end of file is on the way

    # --- frames

    def _hear_capture(self, camera: str) -> None:
        channel = self._captures[camera]
        try:
            for message in channel.drain():
                match message:
                    case Frame(frame=frame):
                        with self._holding:
                            self._held[_key(frame)] = self._rings[camera]
                        self._batcher.add(Queued(frame=frame, graph=self._by.roles[frame.view]))
                    case _:
                        raise RuntimeError(f"unexpected {message}")
        except ChannelClosed:
            # What it lent stays ours: its verdicts are still owed, and its successor is told which slots.
            self._hang_up(channel)
            self._captures.pop(camera, None)

    def _feed_all(self) -> None:
        """Every frame that came goes on to the graph, by what is judged by now."""
        while len(self._batcher):
            self._feed_next()

    def _feed_next(self) -> None:
        self._feed(self._batcher.take(time.monotonic_ns(), self._by.judging.inspector.max_batch))

    def _feed(self, batch: Batch) -> None:
        """Register a batch and submit it; refuse what is late."""
        for queued in batch.late:
            self._refuse(queued.frame, Reason.DEADLINE, "waited for inspection past its deadline")
        prepared: list[Prepared] = []
        frames: list[Queued] = []
        queue_ms: list[float] = []
        register_ms: list[float] = []
        for queued in batch.frames:
            started_ns = time.monotonic_ns()
            try:
                prepared.append(self._prepare(queued))
            except TornFrame as torn:
                self._torn(queued.frame, str(torn))
                continue
            except ImageError as problem:
                self._refuse_picture(queued, str(problem))
                continue
            frames.append(queued)
            queue_ms.append((started_ns - queued.frame.host_timestamp_ns) / 1e6)
            register_ms.append((time.monotonic_ns() - started_ns) / 1e6)
        if frames:
            parts = (tuple(frames), tuple(prepared), tuple(queue_ms), tuple(register_ms))
            self._engine.submit(Job(self._by.judging, *parts))

    def _prepare(self, queued: Queued) -> Prepared:
        frame = queued.frame
        buffer = self._held[_key(frame)].read(frame.slot, frame.generation)
        picture = as_bgr(buffer, frame.width, frame.height, frame.pixel_format, frame.used_bytes)
        return self._by.judging.inspector.prepare(picture, queued.graph)

    def _is_intact(self, queued: Queued) -> bool:
        frame = queued.frame
        return self._held[_key(frame)].is_intact(frame.slot, frame.generation)

    def _refuse_picture(self, queued: Queued, problem: str) -> None:
        """Its bytes make no picture: a compressed one was cut off, or overwritten while it was read."""
        if self._is_intact(queued):
            self._refuse(queued.frame, Reason.CANNOT_JUDGE, problem)
        else:
            self._torn(queued.frame, "the frame was overwritten while it was read")

    def _refuse(self, frame: FrameRef, reason: Reason, detail: str) -> None:
        """Count and answer for a frame that is not judged."""
        drops = self._page.counter(
            "goldline_frames_dropped_total", camera=frame.view, stage="inspection", reason=reason
        )
        drops.inc()
        self._answer(self._by.judging, frame, error(reason, detail), NO_TIME)

    def _torn(self, frame: FrameRef, detail: str) -> None:
        self._refuse(frame, Reason.TORN, detail)

    # --- verdicts

    def _done(self, batch: list[Done]) -> None:
        """On the engine's thread: count, answer, and see where the parts are drifting."""
        self._tally.batch(len(batch))
        deadlines_ns = (done.queued.frame.deadline_ns for done in batch)
        # What is late already waits for nothing.
        due_ns = min((one for one in deadlines_ns if one > time.monotonic_ns()), default=0)
        for done in self._keeper.ordered(batch):
            self._tally.judged(done)
            image = self._keeper.keep(done, self._held[_key(done.queued.frame)], done.by.provenance, due_ns)
            self._answer(done.by, done.queued.frame, done.verdict, done.timing, image)
            watch = done.by.watches[done.queued.frame.view]
            watch.observe(done.verdict, done.prepared.gain, done.prepared.sharpness)

    def _answer(
        self, by: Judging, frame: FrameRef, verdict: Verdict, timing: Timing, image: Image | None = None
    ) -> None:
        """The verdict to the ledger, then the slot to capture."""
        self._mouth.say(Judged(frame=frame, verdict=verdict, provenance=by.provenance, timing=timing, image=image))
        with self._holding:
            del self._held[_key(frame)]
            self._tell_capture(frame.camera, Release(slot=frame.slot, generation=frame.generation))


def _key(frame: FrameRef) -> tuple[str, int, int]:
    return frame.camera, frame.slot, frame.generation


NO_TIME = Timing(queue_ms=0.0, register_ms=0.0, graph_ms=0.0, judge_ms=0.0)
