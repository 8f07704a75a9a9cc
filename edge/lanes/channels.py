"""The channels of a lane as it runs: each one's handshake, kept over this process's death, between PLC and station.

Every change goes the same way: a new value is made (`result_lane.py`), kept (`kept.py`), and only then does anybody see
it: the PLC, or publish in an order.
"""

import json
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import msgspec
import structlog

from edge.config import Station, runtime_directory
from edge.lanes import result_lane
from edge.lanes.codes import Refusal
from edge.lanes.kept import Kept, kept_path, place_path
from edge.lanes.result_lane import Controls, Orders, ResultLane
from edge.lanes.settling import Settling
from edge.lanes.shown import Shown
from edge.lanes.station_link import Decision, Place, Reply, StationLink
from edge.metrics import Page

# After a long absence thousands may wait; more in one go would keep PLCs and the watchdog waiting. One takes 0.1 ms.
DECISIONS_A_TURN = 256


class _Answer(msgspec.Struct, frozen=True):
    """Of `orders.Accepted` and `orders.Refused`, what concerns a lane."""

    accepted: bool
    trigger_id: int | None = None
    error: str | None = None


_decode_answer = msgspec.json.Decoder(_Answer).decode
_encode_place = msgspec.msgpack.Encoder().encode
_decode_place = msgspec.msgpack.Decoder(Place).decode


class Channel:
    """One channel: its value, and the file that keeps it."""

    def __init__(self, path: Path, name: str) -> None:
        """What a process before this one has kept, or a new beginning."""
        self.name = name
        self._kept = Kept(path, name)
        self.lane = ResultLane() if self._kept.at_start is None else _revived(self._kept.at_start, name)

    def change(self, lane: ResultLane) -> None:
        """Keep it; from here on it may be seen."""
        if lane is not self.lane:
            self._kept.write(result_lane.encode(lane))
            self.lane = lane

    def has_seen(self, place: Place) -> bool:
        """Whether the decision in front of this place is taken in already."""
        seen = self.lane.seen
        return seen is not None and seen.log == place.log and place.index <= seen.index

    def close(self) -> None:
        """Let the file go."""
        self._kept.close()


def _revived(kept: bytes, name: str) -> ResultLane:
    """What another process kept; of one of another version that cannot be read, a new beginning."""
    try:
        return result_lane.decode(kept).revive()
    except msgspec.DecodeError as problem:
        log = structlog.get_logger()
        log.warning("what another version of this lane kept is let go", channel=name, problem=str(problem))
        return ResultLane()


class Channels:
    """All of a lane's channels. `since` is where its reading of the decided log goes on."""

    def __init__(self, station: Station, lane: str, names: tuple[str, ...], page: Page) -> None:
        """Raises GoldlineError where nothing can be kept."""
        runtime = runtime_directory(station)
        self._station, self._lane = station, lane
        self._by_name = {name: Channel(kept_path(runtime, lane, name), name) for name in names}
        self._kept_place = Kept(place_path(runtime, lane), lane)
        found = self._kept_place.at_start
        self.since: Place | None = None if found is None else _decode_place(found)
        self._link: StationLink | None = None
        self._orders: dict[int, Callable[[_Answer | None], None]] = {}
        self._gaps = 0
        self._settling = Settling()
        self._log = structlog.get_logger()
        self._results = page.counter("goldline_lane_results_total", lane=lane)
        self._overruns = page.counter("goldline_lane_overruns_total", lane=lane)
        self._missed = page.counter("goldline_lane_missed_triggers_total", lane=lane)

    def take_over(self, station: Station) -> None:
        """Other deadlines, from the next trigger on."""
        self._station = station

    def use(self, link: StationLink) -> None:
        """Orders go over this link, decisions come from it."""
        self._link, link.when_changed = link, self.take_over

    def __getitem__(self, name: str) -> ResultLane:
        """How a channel stands."""
        return self._by_name[name].lane

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of the configuration."""
        return tuple(self._by_name)

    def hindrance(self, name: str, now_ns: int) -> Refusal:
        """Why a trigger of this channel would be missed now."""
        return self[name].hindrance(self._hindrance(name, now_ns))

    def close(self) -> None:
        """Let the files go."""
        self._kept_place.close()
        for channel in self._by_name.values():
            channel.close()

    # --- the PLC

    def command(self, name: str, controls: Controls, unit_identifier: str | None, written: bytes) -> None:
        """The PLC's bits of this channel are now these; `written` is the identifier as it came."""
        channel, now_ns = self._by_name[name], time.monotonic_ns()
        told = channel.lane.but(written=written)
        lane, orders = told.command(controls, unit_identifier, self._hindrance(name, now_ns))
        self._change(channel, lane)
        self._order(channel, orders, unit_identifier or None)

    def _order(self, channel: Channel, orders: Orders, unit_identifier: str | None) -> None:
        if orders.trigger:
            self._ask(channel, "trigger", unit_identifier, partial(self._triggered, channel))
        if orders.announce:
            self._ask(channel, "announce", unit_identifier, partial(self._announced, channel))

    def _ask(
        self, channel: Channel, verb: str, unit_identifier: str | None, reply: Callable[[_Answer | None], None]
    ) -> None:
        order = json.dumps({"verb": verb, "camera": channel.name, "unit_identifier": unit_identifier}).encode()
        token = None if self._link is None else self._link.ask(order)
        if token is None:
            reply(_Answer(accepted=False))
        else:
            self._orders[token] = reply

    # --- the station

    def _hindrance(self, name: str, now_ns: int) -> Refusal:
        link = self._link
        if link is None or not link.is_fresh(now_ns):
            return Refusal.STALE
        if link.standing is None or not link.standing.executes:
            return Refusal.NOT_EXECUTING
        return Refusal.NONE if link.standing.is_up(name) else Refusal.CAMERA_DOWN

    def turn(self, now_ns: int) -> None:
        """Take in what the station has answered and decided, and what time brings."""
        assert self._link is not None
        for reply in self._link.answers():
            self._answered(reply)
        is_all_read = self._read(self._link)
        # What waits behind may be the decision that is awaited.
        is_settled = self._settling.look(now_ns, is_fresh=is_all_read and self._link.is_fresh(now_ns))
        for channel in self._by_name.values():
            deadline_ns = int(self._station.deadline_ms(channel.name) * 1e6)
            self._change(channel, channel.lane.expire(now_ns, deadline_ns, is_settled=is_settled))

    def _change(self, channel: Channel, lane: ResultLane) -> None:
        """Keep it, and count what is new in it."""
        before = channel.lane
        channel.change(lane)
        self._results.inc(lane.completed - before.completed)
        self._overruns.inc(lane.overruns - before.overruns)
        self._missed.inc(lane.missed - before.missed)

    def _read(self, link: StationLink) -> bool:
        """Whether that was all."""
        before = link.place
        decisions = list(islice(link.decisions(), DECISIONS_A_TURN))
        for decision in decisions:
            self._take(decision)
        if link.gaps != self._gaps:
            self._gaps = link.gaps
            for channel in self._by_name.values():
                self._change(channel, channel.lane.overrun())
        if link.place is not None and (link.place is not before or before != self.since):
            # Behind the channels: after a death between the two, a channel knows what it has taken in.
            self.since = link.place
            self._kept_place.write(_encode_place(link.place))
        return len(decisions) < DECISIONS_A_TURN

    def _take(self, decision: Decision) -> None:
        data = decision.event.data
        channel = self._by_name.get(data.camera)
        if channel is None or data.trigger_id is None or channel.has_seen(decision.behind):
            return
        shown = Shown.of(decision.event, time.time_ns(), self._lane)
        self._change(channel, channel.lane.take(shown, decision.behind))

    def _answered(self, reply: Reply) -> None:
        take = self._orders.pop(reply.token, None)
        if take is not None:
            take(None if reply.answer is None else _decode_answer(reply.answer))

    def _triggered(self, channel: Channel, answer: _Answer | None) -> None:
        if answer is None:
            self._change(channel, channel.lane.doubt())
        elif answer.accepted and answer.trigger_id is not None:
            by_ns = time.monotonic_ns() + int(self._station.deadline_ms(channel.name) * 1e6) + result_lane.GRACE_NS
            self._change(channel, channel.lane.accept(answer.trigger_id, by_ns))
        else:
            self._refused(channel, answer, "trigger")
            self._change(channel, channel.lane.refuse(Refusal.STALE if answer.error is None else Refusal.REFUSED))

    def _announced(self, channel: Channel, answer: _Answer | None) -> None:
        if answer is None:
            self._change(channel, channel.lane.announced(Refusal.LOST))
        elif answer.accepted:
            self._change(channel, channel.lane.announced())
        else:
            self._refused(channel, answer, "announce")
            self._change(channel, channel.lane.announced(Refusal.STALE if answer.error is None else Refusal.REFUSED))

    def _refused(self, channel: Channel, answer: _Answer, what: str) -> None:
        problem = answer.error or "publish is away"
        self._log.warning("an order of the PLC is refused", channel=channel.name, order=what, problem=problem)
