"""Calls that must not hold up their caller: a library that goes on for seconds does so on a thread of its own."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


def finishes(limit_s: float, call: Callable[[], object]) -> bool:
    """Whether `call` returns within the limit. If not it goes on alone, on a thread that no exit waits for."""
    thread = threading.Thread(target=call, name="bounded", daemon=True)
    thread.start()
    thread.join(limit_s)
    return not thread.is_alive()


class Errand(Generic[Answer]):
    """A question sent off on a thread of its own; whoever asked looks in for the answer."""

    def __init__(self, question: Callable[[], Answer]) -> None:
        self._question = question
        self._answers: list[Answer] = []
        self._thread = threading.Thread(target=self._run, name="errand", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._answers.append(self._question())

    @property
    def is_over(self) -> bool:
        """Whether the question was answered, or ended in an error."""
        return not self._thread.is_alive()

    def answer(self) -> Answer | None:
        """The answer; None before there is one."""
        return self._answers[0] if self._answers else None
