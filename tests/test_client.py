"""The subscriber: every event once, in order, and what is missing is said by number."""

import asyncio
import os
import signal
import threading
from typing import Any
from uuid import UUID

import pytest

from edge import client, events, key_files, session
from edge.catch_up import WAIT_MS
from edge.client import (
    Arrived,
    AsyncSubscriber,
    Cursor,
    EventsGone,
    Gone,
    NewStream,
    Notify,
    StreamChanged,
    Subscriber,
    ask,
)
from edge.errors import GoldlineError
from edge.events import Event
from edge.keys import ClientKeys
from edge.sync_desk import CONSUMERS_OF_ONE_KEY
from tests.publish_line import PATIENCE_S, until
from tests.sync_line import SyncLine, keyed, sync_lines


@pytest.fixture
def line(tmp_path):
    with sync_lines(tmp_path) as made:
        yield made


def hear(subscriber: Subscriber, count: int) -> list[Event]:
    return [next(subscriber) for _ in range(count)]


def numbers(heard: list[Event]) -> list[int]:
    return [int(event.sequence) for event in heard]


class Listening:
    """A subscriber on a thread of its own, that acknowledges what it hears."""

    def __init__(self, line: SyncLine, **options: Any) -> None:
        self.heard: list[Event] = []
        self.told: list[Any] = []
        self.begun = threading.Event()
        self._stop = threading.Event()
        notify = Notify(gone=self.told.append, new_stream=self.told.append, begun=lambda _: self.begun.set())
        self._subscriber = line.subscriber_of(consumer="mes", notify=notify, **options)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        with self._subscriber as subscriber:
            while not self._stop.is_set():
                for item in subscriber.take(0.05):
                    if isinstance(item, Arrived):
                        self.heard.append(item.event())
                        subscriber.acknowledge(item.cursor)
                    else:
                        self.told.append(item)

    def wait(self, count: int) -> list[int]:
        until(lambda: len(self.heard) >= count, f"{count} events, got {len(self.heard)}")
        return numbers(self.heard)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(20)


@pytest.fixture
def listening(line):
    made: list[Listening] = []

    def make(**options: Any) -> Listening:
        made.append(Listening(line, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_what_was_said_before_comes_first_then_what_is_said_now(line):
    line.start_both()
    line.say(30)
    line.subscriber.wait(30)
    with line.subscriber_of(after=5) as subscriber:
        heard = hear(subscriber, 25)
        line.say(10)
        heard += hear(subscriber, 10)
    assert numbers(heard) == list(range(6, 41))
    assert heard == line.subscriber.wait(40)[5:]
    with line.subscriber_of(after=heard[-3].id) as again:
        assert numbers(hear(again, 2)) == [39, 40]


def test_without_a_cursor_only_news_comes(line):
    line.start_both()
    line.say(7)
    line.subscriber.wait(7)
    begun: list[Cursor] = []
    with line.subscriber_of(notify=Notify(begun=begun.append)) as subscriber:
        assert subscriber.take(0.5) == []
        line.say(2)
        assert numbers(hear(subscriber, 2)) == [8, 9]
    assert [one.sequence for one in begun] == [7]


def test_sync_alone_is_enough(line):
    line.start_both()
    line.say(3)
    with line.subscriber_of(live=None, after=0) as subscriber:
        assert numbers(hear(subscriber, 3)) == [1, 2, 3]
        line.say(2)
        assert numbers(hear(subscriber, 2)) == [4, 5]


def test_with_sync_alone_an_acknowledgement_does_not_end_the_waiting_for_news(line):
    line.start_both()
    line.say(1)
    with line.subscriber_of(live=None, after=0, consumer="mes") as subscriber:
        subscriber.acknowledge(next(subscriber))
        assert subscriber.take(0.3) == []
        until(lambda: line.acknowledged() == {"mes": 1}, "it is on disk")
        line.say(1)
        # Not only when the request would have been given up for lost.
        assert [one.cursor.sequence for one in subscriber.take(WAIT_MS / 1000)] == [2]


def test_an_acknowledgement_that_was_lost_is_sent_again(line):
    line.start_both()
    line.say(3)
    with line.subscriber_of(after=0, consumer="mes") as subscriber:
        last = hear(subscriber, 3)[-1]
        assert line.sync.popen is not None
        os.kill(line.sync.popen.pid, signal.SIGSTOP)
        subscriber.acknowledge(last)
        # It has left, and lies unread in the socket of a process that dies.
        assert subscriber.take(0.3) == []
        line.kill_sync()
        line.start_sync()
        until(lambda: subscriber.take(0.05) or line.acknowledged() == {"mes": 3}, "it is on disk")
        assert line.acknowledged() == {"mes": 3}


@pytest.mark.parametrize("addresses", [("nowhere", "tcp://127.0.0.1:9"), ("tcp://127.0.0.1:9", "tcp://:x")])
def test_what_is_no_address_is_said_in_one_line(addresses):
    sync, live = addresses
    wrong = sync if sync == "nowhere" else live
    with pytest.raises(GoldlineError, match=f"{wrong}: cannot be connected to"):
        Subscriber(sync=sync, live=live)
    with pytest.raises(GoldlineError, match=f"{wrong}: cannot be connected to"):
        ask(wrong, {"verb": "state"})


def test_deaths_of_either_process_cost_nothing_but_time(line, listening):
    line.start_both()
    reader = listening(after=0)
    line.say(20)
    reader.wait(20)
    line.kill()
    line.start()
    line.link_both()
    line.capture("left")
    line.link("inspection")
    line.say(20)
    reader.wait(40)
    line.kill_sync()
    line.say(20)
    line.start_sync()
    line.say(5)
    assert reader.wait(65) == list(range(1, 66))
    assert reader.told == []
    until(lambda: list(line.acknowledged().values()) == [65], "the last is acknowledged")
    assert line.stop() == 0
    assert [events.encode(event) for event in reader.heard] == line.bodies()


def test_a_new_outbox_is_told_and_read_from_its_first_event(line, listening):
    line.start_both()
    line.say(5)
    reader = listening(after=0)
    reader.wait(5)
    line.kill()
    line.replace_outbox()
    line.fill(3)
    line.start()
    line.link_both()
    assert reader.wait(8) == [1, 2, 3, 4, 5, 1, 2, 3]
    (new,) = reader.told
    assert isinstance(new, NewStream)
    assert (new.heard, str(new.before), str(new.stream)) == (
        5,
        reader.heard[0].id.partition("/")[0],
        reader.heard[-1].id.partition("/")[0],
    )


def test_what_is_gone_is_told_or_raised_and_reading_goes_on(line):
    line.fill(10)
    line.prune(4)
    line.start_both()
    told: list[Gone] = []
    with line.subscriber_of(after=1, notify=Notify(gone=told.append)) as subscriber:
        assert numbers(hear(subscriber, 6)) == [5, 6, 7, 8, 9, 10]
    assert [(one.first, one.last) for one in told] == [(2, 4)]
    with line.subscriber_of(after=0) as subscriber:
        with pytest.raises(EventsGone, match="events 1 to 4 are gone"):
            next(subscriber)
        assert numbers(hear(subscriber, 6)) == [5, 6, 7, 8, 9, 10]


def test_a_cursor_of_another_stream_is_told(line):
    line.fill(2)
    line.start_both()
    with line.subscriber_of(after=f"{UUID(int=7)}/900") as subscriber:
        with pytest.raises(StreamChanged, match="event 900 was the last"):
            next(subscriber)
        assert numbers(hear(subscriber, 2)) == [1, 2]


def test_a_cursor_beyond_the_outbox_is_a_problem(line):
    line.fill(2)
    line.start_both()
    with line.subscriber_of(after=3) as subscriber, pytest.raises(GoldlineError, match="it is an older copy"):
        next(subscriber)


def test_asyncio_hears_the_same(line):
    line.fill(40)
    line.start_both()

    async def listen() -> list[Event]:
        heard: list[Event] = []
        async with AsyncSubscriber(**line.addresses, after=0, silence_s=PATIENCE_S) as subscriber:
            async for event in subscriber:
                heard.append(event)
                if len(heard) == 40:
                    assert await subscriber.take(0.01) == []
                    line.say(3)
                if len(heard) == 43:
                    return heard
        return heard

    assert numbers(asyncio.run(listen())) == list(range(1, 44))


def test_how_the_station_stands_is_told_to_whoever_joins(line):
    line.start_both()
    states: list[dict[str, Any]] = []
    with line.subscriber_of(notify=Notify(state=states.append)) as subscriber:
        until(lambda: subscriber.take(0.05) or states, "a state")
    assert states[0]["station"] == line.station.station_id


def test_with_keys_a_consumer_has_its_keys_name_and_a_refused_key_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "RENEW_NS", 1_000_000_000)
    with keyed(tmp_path) as line:
        mes = line.admit("mes")
        line.listen_with(line.admit("test"))
        line.fill(3)
        line.start_both()
        with line.subscriber_of(after=0, keys=mes, consumer="mes.archive") as subscriber:
            assert numbers(hear(subscriber, 3)) == [1, 2, 3]
        other = line.subscriber_of(after=0, keys=mes, consumer="scada")
        with other, pytest.raises(GoldlineError, match=r"the key of mes speaks for mes and mes\.\*, not scada"):
            next(other)
        key_files.deny(line.station.keys_dir, "mes")
        until(lambda: is_refused(line, mes), "the key counts no more")
        with line.subscriber_of(after=0, keys=mes) as subscriber:
            assert subscriber.take(1.0) == []
            key_files.allow(line.station.keys_dir, "mes", mes.public, ("events",))
            assert numbers(hear(subscriber, 3)) == [1, 2, 3]


def test_one_key_names_a_few_consumers_and_leaves_room_for_the_others(tmp_path):
    with keyed(tmp_path) as line:
        mes, scada = line.admit("mes"), line.admit("scada")
        line.listen_with(mes)
        line.fill(1)
        line.start_both()
        names = ["mes", *(f"mes.{number}" for number in range(CONSUMERS_OF_ONE_KEY - 1))]
        for name in names:
            with line.subscriber_of(after=0, keys=mes, consumer=name) as subscriber:
                assert numbers(hear(subscriber, 1)) == [1]
        refused = pytest.raises(GoldlineError, match="the key of mes has named 8 consumers already")
        with line.subscriber_of(after=0, keys=mes, consumer="mes.more") as subscriber, refused:
            next(subscriber)
        for keys, name in ((mes, names[-1]), (scada, "scada")):
            with line.subscriber_of(after=0, keys=keys, consumer=name) as subscriber:
                assert numbers(hear(subscriber, 1)) == [1]


def is_refused(line: SyncLine, keys: ClientKeys) -> bool:
    with line.subscriber_of(after=0, keys=keys) as subscriber:
        return not subscriber.take(0.5)


def test_a_silent_station_is_an_error_that_names_the_address(tmp_path):
    address = f"ipc://{tmp_path}/nobody"
    nobody = pytest.raises(GoldlineError, match=f"{address}: nothing heard for 0.05 s")
    with Subscriber(sync=address, silence_s=0.05) as subscriber, nobody:
        next(subscriber)
    with pytest.raises(GoldlineError, match=f"{address}: no answer within 0.05 s"):
        ask(address, {"verb": "state"}, timeout_s=0.05)


def test_who_waits_for_a_station_is_told_so_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(client, "TELL_SILENCE_S", 0.05)
    with Subscriber(sync=f"ipc://{tmp_path}/nobody") as subscriber:
        for _ in range(3):
            assert subscriber.take(0.1) == []
    (told,) = caplog.messages
    assert f"ipc://{tmp_path}/nobody: nothing heard for" in told


def test_what_a_subscriber_cannot_be_is_said_at_once(tmp_path):
    address = f"ipc://{tmp_path}/nobody"
    with pytest.raises(GoldlineError, match="consumer 'two words': must be a letter or digit"):
        Subscriber(sync=address, consumer="two words")
    nameless = pytest.raises(GoldlineError, match="nothing is acknowledged without a name")
    with Subscriber(sync=address) as subscriber, nameless:
        subscriber.acknowledge(Cursor(1))


def test_an_order_to_another_socket_is_one_line(line):
    line.fill(1)
    line.start_sync()
    with pytest.raises(GoldlineError, match="what answers there takes no orders"):
        ask(line.addresses["sync"], {"verb": "state"}, timeout_s=PATIENCE_S)
