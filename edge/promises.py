"""What capture has promised the ledger: triggers it opened, and those it must answer for itself.

The trigger log comes first: a trigger stands there before anybody is told, so a word lost to a full or dead socket
costs time, not a trigger.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from edge.admission import Admission
from edge.cameras.camera import CapturedFrame
from edge.channel import Channel, ChannelClosed, ChannelFull
from edge.messages import Announce, Fire, Ids, Opened, Run, Streams, Unjudged, WantIds
from edge.records import Reason, Trigger
from edge.trigger_log import Full, OpenedLog


class Promises:
    """One camera's trigger log, and the talk with publish. `accept` is called with each trigger to fire."""

    def __init__(
        self,
        log: OpenedLog,
        camera: str,
        deadline_ms: float,
        accept: Callable[[Trigger], None],
        group: str | None = None,
        views: tuple[str, ...] = (),
    ) -> None:
        """Triggers opened here are the camera's, or those of the `group` that it opens them for; `views` are theirs."""
        self._log, self._camera, self._accept = log, camera, accept
        self._name = group or camera
        self.promise_within(deadline_ms)
        self._publish: Channel | None = None
        self._asked_for_ids = False
        # What publish was told of the camera on this link.
        self._said_up: bool | None = None
        self._unsaid: deque[Unjudged] = deque()
        self._views = views if len(views) > 1 else ()
        self._admission = Admission()
        # Units that were announced, and another before a trigger came for them: each is owed one.
        self._unseen: deque[Announce] = deque()

    # --- publish

    def connect(self, channel: Channel | None) -> Channel | None:
        """Talk over this from now on; returns the channel it replaces."""
        old, self._publish, self._asked_for_ids, self._said_up = self._publish, channel, False, None
        return old

    @property
    def is_linked(self) -> bool:
        """Whether there is a publish to talk to, as far as is known here."""
        return self._publish is not None

    def promise_within(self, deadline_ms: float) -> None:
        """Triggers that are opened here from now on are due after this long."""
        self._deadline_ns = round(deadline_ms * 1e6)

    def hear(self) -> bool:
        """Take what publish said. Returns False when publish has gone."""
        assert self._publish is not None
        try:
            for message in self._publish.drain():
                match message:
                    case Ids(first=first, last=last):
                        self._log.add_ids(first, last)
                        self._asked_for_ids = False
                    case Fire(trigger=trigger):
                        self._accept(trigger)
                    case Run():
                        self._admission.run(message)
                    case Announce():
                        self._announce(message)
                    case _:
                        raise RuntimeError(f"unexpected {message}")
        except ChannelClosed:
            return False
        return True

    def _say(self, message: Opened | Unjudged | WantIds | Streams) -> bool:
        try:
            if self._publish is not None:
                self._publish.send(message)
        except (ChannelFull, ChannelClosed):
            return False
        return self._publish is not None

    def keep_up(self, *, is_up: bool | None = None) -> None:
        """Say what could not be said, ask for ids in time, and have publish know whether the camera streams."""
        if is_up is not None and is_up is not self._said_up and self._say(Streams(is_up=is_up)):
            self._said_up = is_up
        while self._unsaid and self._say(self._unsaid[0]):
            self._unsaid.popleft()
        if self._log.wants_ids and not self._asked_for_ids:
            self._asked_for_ids = self._say(WantIds())
        while self._unseen and self._open_unseen(self._unseen[0]):
            self._unseen.popleft()

    # --- triggers

    @property
    def is_on(self) -> bool:
        """Whether `open` may open anything: publish says when the station takes what comes by itself."""
        return self._admission.is_on

    def _announce(self, said: Announce) -> None:
        if (unseen := self._admission.announce(said)) is not None:
            self._unseen.append(unseen)
            self.keep_up()

    def _open_unseen(self, announced: Announce) -> bool:
        """Promise an answer for a unit that nothing came for, and give it. False: not now."""
        trigger_id = self._log.next_id()
        if trigger_id is None:
            return False
        now_ns = time.monotonic_ns()
        trigger = Trigger(
            trigger_id=trigger_id,
            camera=self._name,
            source="announced",
            opened_ns=now_ns,
            opened_utc_ns=time.time_ns(),
            deadline_ns=now_ns + self._deadline_ns,
            unit_identifier=announced.unit_identifier,
            expect=announced.expect,
            views=self._views,
            announced=announced.number,
        )
        if not self.write(trigger):
            return False
        # Publish answers for the views of all its cameras.
        self.opened(trigger)
        return True

    def open(
        self,
        captured: CapturedFrame,
        source: Literal["free", "line"] = "free",
        views: tuple[str, ...] = (),
        *,
        is_timed: bool = True,
    ) -> Trigger | None:
        """Promise an answer for a frame that nobody here asked for. None: not `is_on`, no id is left, or no room in the log.

        For one of a line the time counts from when the part was there, as far as can be told.
        """
        trigger_id = self._log.next_id() if self.is_on else None
        if trigger_id is None:
            return None
        opened_ns = captured.host_timestamp_ns
        if source == "line" and captured.started_ns is not None:
            opened_ns = captured.started_ns
        unit = self._admission.unit
        trigger = Trigger(
            trigger_id=trigger_id,
            camera=self._name,
            source=source,
            opened_ns=opened_ns,
            opened_utc_ns=captured.host_timestamp_utc_ns - (captured.host_timestamp_ns - opened_ns),
            deadline_ns=opened_ns + self._deadline_ns,
            unit_identifier=unit.unit_identifier,
            expect=unit.expect,
            views=views,
            is_timed=is_timed,
            announced=unit.number,
        )
        if not self.write(trigger):
            return None
        self._admission.opened()
        return trigger

    def write(self, trigger: Trigger) -> bool:
        """Into the log; False when the ledger has fallen a whole log behind."""
        try:
            self._log.append(trigger)
        except Full:
            return False
        return True

    def handed(self, trigger: Trigger, view: str) -> None:
        """Inspection answers for this view from here on. Call before the frame is sent."""
        self._log.mark_handed(trigger.trigger_id, trigger.views_of(self._camera).index(view))

    def opened(self, trigger: Trigger) -> None:
        """Wake the ledger for a trigger opened here."""
        self._say(Opened(trigger=trigger))

    def unjudged(self, trigger_id: int, reason: Reason, detail: str, view: str | None = None) -> None:
        """Answer for a view that inspection will not answer for; without one, for all that this camera owes."""
        self._unsaid.append(Unjudged(trigger_id=trigger_id, reason=reason, detail=detail, view=view))
        self.keep_up()

    def close(self, *, clean: bool) -> None:
        """Let the log go; at a clean stop also the ids that were not used."""
        if clean:
            self._log.surrender_ids()
        self._log.close()
