"""Channels: whole messages, descriptors, and the peer's death."""

import os
import socket
from collections.abc import Callable

import pytest

from edge.channel import Channel, ChannelClosed, ChannelFull, pair
from edge.messages import Hello, Link, Release, Stop

Connect = Callable[[], tuple[Channel, Channel]]


def test_messages_arrive_whole_and_in_order(channels: Connect) -> None:
    left, right = channels()
    sent = [Release(slot=3, generation=8), Hello(held=(1, 2)), Stop()]
    for message in sent:
        left.send(message)
    assert list(right.drain()) == sent
    assert right.receive() is None


def test_a_descriptor_comes_along(channels: Connect) -> None:
    left, right = channels()
    reading, writing = os.pipe()
    left.send(Link(peer="publish"), descriptor=writing)
    os.close(writing)
    heard = right.receive_with_descriptor()
    assert heard is not None and heard[0] == Link(peer="publish") and heard[1] is not None
    os.write(heard[1], b"x")
    os.close(heard[1])
    assert os.read(reading, 2) == b"x"
    os.close(reading)


def test_what_a_dead_peer_said_is_read_before_its_end(channels: Connect) -> None:
    left, right = channels()
    left.send(Stop())
    left.close()
    assert right.receive() == Stop()
    with pytest.raises(ChannelClosed):
        right.receive()
    with pytest.raises(ChannelClosed):
        right.send(Stop())


@pytest.mark.parametrize("how", [Channel.receive, Channel.receive_with_descriptor])
def test_a_dead_peers_last_words_are_read_although_it_left_ours_unread(
    how: Callable[[Channel], object], channels: Connect
) -> None:
    """The kernel reports the reset before it gives out what was said."""
    left, right = channels()
    right.send(Hello(held=()))
    left.send(Stop())
    left.close()
    assert how(right) in (Stop(), (Stop(), None))
    with pytest.raises(ChannelClosed):
        how(right)


def test_a_peer_that_does_not_read_is_noticed_and_never_waited_for(channels: Connect) -> None:
    left, right = channels()

    def flood() -> None:
        for _ in range(100_000):
            left.send(Release(slot=1, generation=2))

    with pytest.raises(ChannelFull):
        flood()
    assert right.receive() == Release(slot=1, generation=2)
    left.send(Stop())


def test_sending_on_an_end_closed_by_another_thread_is_a_closed_channel(channels: Connect) -> None:
    left, _right = channels()
    left.close()
    with pytest.raises(ChannelClosed):
        left.send(Stop())


def test_the_pair_keeps_message_boundaries() -> None:
    left, right = pair()
    assert left.type == socket.SOCK_SEQPACKET == right.type
    left.close()
    right.close()
