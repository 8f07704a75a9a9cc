"""PROCESS: every event to an MQTT 5 broker, at least once and in order. `docs/mqtt.md`.

It reads the station's own LIVE and SYNC like any other consumer, so that neither a verdict nor a PLC waits for it:
1. an event is read, and published with QoS 1; at most a window of them is under way;
2. the broker acknowledges it;
3. the cursor, up to which the broker has everything, goes to a file and to SYNC: only then may the outbox forget it;
4. whenever the connection or this process ends, the next begins behind the cursor. What was under way is said again,
   under the same id;
5. a message that is larger than the broker takes is passed over, and a notice that names it stands in its place.
"""

import queue
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import msgspec
import structlog

from edge.border_config import MqttConfig
from edge.client import Arrived, Cursor, Gone, NewStream, Notify, Subscriber
from edge.config import Station
from edge.errors import GoldlineError
from edge.keys import own_keys
from edge.lanes.mqtt_broker import ONLINE, Broker, Said
from edge.lanes.mqtt_figures import Figures
from edge.lanes.mqtt_flight import Flight
from edge.lanes.mqtt_size import Limit, TooLarge
from edge.lanes.station_link import StationLink
from edge.metrics import State
from edge.progress import Progress
from edge.worker import WorkerContext

CONSUMER = "lane-mqtt"
# The loop comes round at least this often, to beat and to hear that it should stop.
TURN_S = 0.05
# A broker that is away is tried again after 0.5 s, then ever later.
RETRY_FIRST_S, RETRY_LAST_S = 0.5, 15.0


# How the station stood, the newest last; None: not to be told any more.
States = list[dict[str, Any] | None]


class Ended(Exception):
    """The connection is over, and why."""


def run(context: WorkerContext) -> None:
    """Until told to stop. Raises GoldlineError: a file that the configuration names cannot be used."""
    station = context.station
    config = station.lanes.mqtt
    assert config is not None
    progress = Progress(station.state_dir / "lanes" / "mqtt.cursor")
    limit, figures = Limit(), Figures.of(context.page)
    figures.acknowledged.set(progress.cursor.sequence)
    with StationLink(context) as link:
        retry_s = RETRY_FIRST_S
        while not link.is_stopping:
            began_s = time.monotonic()
            try:
                with _connection(station, config, progress, limit) as (broker, subscriber, states):
                    Forwarder(broker, subscriber, states, progress, figures).follow(link)
            except Ended as ended:
                figures.connected.set(0)
                retry_s = RETRY_FIRST_S if time.monotonic() - began_s > RETRY_LAST_S else min(retry_s * 2, RETRY_LAST_S)
                structlog.get_logger().warning(
                    "the broker is away", broker=config.broker, problem=str(ended), retry_s=retry_s
                )
                _pause(link, retry_s)
        progress.write()


@contextmanager
def _connection(
    station: Station, config: MqttConfig, progress: Progress, limit: Limit
) -> "Generator[tuple[Broker, Subscriber, States]]":
    """The broker, and a reader that begins where the broker has everything, with the states of the station it hears."""
    with Broker(config, topic_of(station, config), f"goldline-{station.station_id}", limit) as broker:
        states: States = []
        with Subscriber(
            sync=station.events.sync,
            live=station.events.live,
            consumer=CONSUMER,
            after=progress.cursor,
            keys=own_keys(station, "events"),
            notify=Notify(state=states.append),
        ) as subscriber:
            yield broker, subscriber, states


def topic_of(station: Station, config: MqttConfig) -> str:
    """What every topic of this station begins with."""
    events = station.events
    return config.topic or f"goldline/{events.site}/{events.line}/{station.station_id}"


def _pause(link: StationLink, pause_s: float) -> None:
    until = time.monotonic() + pause_s
    while not link.is_stopping and time.monotonic() < until:
        link.hear(time.monotonic_ns())
        time.sleep(TURN_S)


class Forwarder:
    """From the station to the broker, for as long as the connection lasts."""

    def __init__(
        self, broker: Broker, subscriber: Subscriber, states: States, progress: Progress, figures: Figures
    ) -> None:
        """Nothing is sent before `follow`."""
        self._broker, self._subscriber, self._states, self._progress = broker, subscriber, states, progress
        self._figures = figures
        # Numbers of messages that cannot be sent at all; those of the broker are above 0.
        self._unsaid = 0
        self._waiting: deque[Arrived | Gone | NewStream] = deque()
        self._is_connected = False
        self._flight = Flight(0)
        # Of the newest that was given to the broker.
        self._said = progress.cursor

    def follow(self, link: StationLink) -> None:
        """Until told to stop. Raises Ended."""
        while not link.is_stopping:
            link.hear(time.monotonic_ns(), State.BUSY if self._waiting else State.IDLE)
            self._hear_broker()
            self._progress.reach(self._progress.cursor)
            if self._is_connected:
                self._forward()
        if self._is_connected:
            self._broker.leave()

    def _hear_broker(self) -> None:
        """All it has said; waits a moment where there is nothing else to do."""
        is_held_up = not self._is_connected or not self._flight.has_room
        try:
            said = self._broker.said.get(timeout=TURN_S) if is_held_up else self._broker.said.get_nowait()
            while True:
                self._take(said)
                said = self._broker.said.get_nowait()
        except queue.Empty:
            return

    def _take(self, said: Said) -> None:
        match said.what:
            case "ended":
                if said.is_too_large:
                    self._broker.limit.refused()
                raise Ended(said.text)
            case "connected":
                self._is_connected, self._flight = True, Flight(self._broker.window)
                self._broker.limit.begin(self._broker.most)
                self._figures.connected.set(1)
                self._figures.connections.inc()
                self._keep("available", ONLINE)
                structlog.get_logger().info("connected to the broker")
            case "acknowledged":
                self._broker.limit.acknowledged(said.message)
                self._acknowledged(self._flight.acknowledged(said.message))

    def _acknowledged(self, cursor: Cursor | None) -> None:
        """The broker has everything up to here, if that has moved."""
        if cursor is not None and cursor != self._progress.cursor:
            self._progress.reach(cursor)
            self._subscriber.acknowledge(cursor)
            self._figures.acknowledged.set(cursor.sequence)

    def _forward(self) -> None:
        if not self._waiting:
            self._waiting.extend(self._read())
        if self._states and self._flight.has_room:
            state = self._states[-1]
            self._states.clear()
            self._keep("state", b"" if state is None else msgspec.json.encode(state))
        while self._waiting and self._flight.has_room:
            one = self._waiting.popleft()
            self._said = one.cursor
            self._flight.sent(self._say(one), one.cursor)

    def _keep(self, path: str, body: bytes) -> None:
        try:
            message = self._broker.keep(path, body)
        except TooLarge as problem:
            message = self._pass_over(path, problem)
            if body:
                # What the broker has kept so far is true no more.
                self._states.append(None)
        self._flight.sent(message, self._said)

    def _read(self) -> list[Arrived | Gone | NewStream]:
        try:
            return self._subscriber.take(TURN_S if self._flight.has_room else 0)
        except GoldlineError as problem:
            raise Ended(f"the station cannot be read: {problem}") from problem

    def _say(self, one: Arrived | Gone | NewStream) -> int:
        match one:
            case Arrived():
                return self._publish(one)
            case Gone(stream=stream, first=first, last=last):
                return self._notice(kind="gone", stream=str(stream), first=first, last=last)
            case NewStream(before=before, heard=heard, stream=stream):
                return self._notice(kind="new_stream", stream=str(stream), before=str(before), heard=heard)

    def _publish(self, event: Arrived) -> int:
        path = path_of(event.topic)
        try:
            message = self._broker.publish(path, event.body, properties_of(event))
        except TooLarge as problem:
            return self._pass_over(path, problem, stream=str(event.stream), sequence=event.sequence)
        self._figures.published.inc()
        return message

    def _pass_over(self, path: str, problem: TooLarge, **event: Any) -> int:
        """Say that this one is not said. It is kept in the outbox as long as any, and SYNC has it."""
        self._figures.too_large.inc()
        structlog.get_logger().error(
            "a message is passed over", topic=path, problem=str(problem), **_named(path, event)
        )
        return self._notice(kind="too_large", topic=path, **event, bytes=problem.size, limit=problem.limit)

    def _notice(self, **notice: Any) -> int:
        try:
            return self._broker.publish("notice", msgspec.json.encode(notice))
        except TooLarge:
            # A broker that takes not even this; the log has it.
            self._unsaid -= 1
            self._broker.said.put(Said("acknowledged", self._unsaid))
            return self._unsaid


def _named(path: str, event: dict[str, Any]) -> dict[str, str]:
    """The event's camera and id, as lines about events have them; a state or a notice has neither."""
    return {"camera": path.partition("/")[0], "event_id": f"{event['stream']}/{event['sequence']}"} if event else {}


def path_of(topic: str) -> str:
    """`left/result` of `goldline.v1.-.-.station.left.result.`: the words that a reader of MQTT needs."""
    camera, kind = topic.rstrip(".").split(".")[-2:]
    return f"{camera}/{kind}"


def properties_of(event: Arrived) -> dict[str, str]:
    """What a reader removes repetitions by without looking into the body."""
    return {"id": str(event.cursor), "stream": str(event.stream), "sequence": str(event.sequence)}
