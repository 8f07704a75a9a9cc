"""Publish's side of the lanes: their orders are answered, and they hear how the station stands and that there is news.

A lane may be stopped or slow at any time. Nothing here waits for one:
1. An answer that does not fit into its socket waits here, behind earlier ones, for the next turn.
2. Of how the station stands, only the newest waits.
3. News that does not fit is let go: a lane reads the decided log every 20 ms without it.
"""

from collections import deque
from collections.abc import Callable
from functools import partial

from edge import orders
from edge.channel import MAX_MESSAGE_BYTES
from edge.decided_log import DecidedLog
from edge.messages import Answered, AnyMessage, Asked, News, Standing
from edge.orders import Refused
from edge.records import Reason

# A lane has one order in hand for each channel and kind of order; of one that gives more than this without reading its
# answers, the oldest answers are let go.
MOST_ANSWERS = 256
# A refusal may repeat what was asked, each byte of it written as five: no packet holds that.
MOST_ANSWER_BYTES = MAX_MESSAGE_BYTES - 1024
TOO_LONG = orders.encode(Refused(error="refused, or answered, in more words than a lane can be told"))
PREFIX = "lane@"

Send = Callable[[str, AnyMessage], Reason | None]
# Carries out an order of the lane of this name, and calls back once with its answer: at once, or when it is done.
Carry = Callable[[bytes, Callable[[bytes], None], str], None]


def is_lane(peer: str) -> bool:
    """Whether this is a lane's process."""
    return peer.startswith(PREFIX)


class LaneDesk:
    """What is still to be said to each lane that is linked."""

    def __init__(self, send: Send, carry_out: Carry, decided: DecidedLog) -> None:
        """`send` says why something could not be sent. The log is read here for one thing: whether it has grown."""
        self._send, self._carry_out, self._decided = send, carry_out, decided
        self._answers: dict[str, deque[Answered]] = {}
        self._untold: set[str] = set()
        self._standing: Standing | None = None
        self._woken_at = decided.written

    def beat(self, now_ns: int) -> None:
        """Publish's loop has come round: first thing in each turn, for lanes tell from it whether publish lives."""
        self._decided.beat(now_ns)

    def link(self, peer: str) -> None:
        """A new incarnation of this lane: it is told how things stand, and nothing that another had asked."""
        self._answers[peer] = deque(maxlen=MOST_ANSWERS)
        self._untold.add(peer)
        self.keep_up()

    def lose(self, peer: str) -> None:
        """It has gone."""
        self._answers.pop(peer, None)
        self._untold.discard(peer)

    def hear(self, peer: str, asked: Asked) -> None:
        """Have an order carried out, and answer it: this incarnation of the lane, not one that comes after it."""
        if (answers := self._answers.get(peer)) is not None:
            self._carry_out(asked.order, partial(self._reply, answers, asked.token), peer.removeprefix(PREFIX))

    def stand(self, state: bytes) -> None:
        """The station has changed: every lane hears it."""
        self._standing = Standing(state=state)
        self._untold = set(self._answers)
        self.keep_up()

    def keep_up(self) -> None:
        """Say what is new, and what there was no room for before. At the end of each turn of publish's loop."""
        if self._decided.written != self._woken_at:
            self._woken_at = self._decided.written
            for peer in self._answers:
                self._send(peer, News())
        for peer, answers in self._answers.items():
            while answers and self._send(peer, answers[0]) is None:
                answers.popleft()
        if self._standing is not None:
            standing = self._standing
            self._untold = {peer for peer in self._untold if self._send(peer, standing) is not None}

    def _reply(self, answers: deque[Answered], token: int, answer: bytes) -> None:
        if len(answer) > MOST_ANSWER_BYTES:
            answer = TOO_LONG
        answers.append(Answered(token=token, answer=answer))
