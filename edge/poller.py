"""A process's one wait: epoll, with a handler for each descriptor."""

import select
from collections.abc import Callable


class Poller:
    """Calls the handler of every descriptor that is readable or at its end."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}

    def listen(self, descriptor: int, handler: Callable[[], None]) -> None:
        """From now on."""
        self._epoll.register(descriptor, select.EPOLLIN)
        self._handlers[descriptor] = handler

    def forget(self, descriptor: int) -> None:
        """No longer; call before closing it."""
        self._epoll.unregister(descriptor)
        del self._handlers[descriptor]

    def turn(self, timeout_s: float) -> None:
        """Wait once, and handle what came."""
        for descriptor, _ in self._epoll.poll(timeout_s):
            # An earlier handler of this turn may have taken this one away.
            if handler := self._handlers.get(descriptor):
                handler()
