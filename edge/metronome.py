"""When the station triggers something by itself. Pure: time is an argument."""

from collections.abc import Mapping


class Metronome:
    """Beats for several names, each with its own period; the first beat of each is at once."""

    def __init__(self, periods_ms: Mapping[str, float], now_ns: int) -> None:
        self._periods_ns = _in_ns(periods_ms)
        self._due_ns = dict.fromkeys(periods_ms, now_ns)
        self._is_stopped = False

    def take_over(self, periods_ms: Mapping[str, float], now_ns: int) -> None:
        """Other periods. A name that is new, or whose period changed, beats at once and from there on. Not after `stop`."""
        if self._is_stopped:
            return
        before, due_ns = self._periods_ns, self._due_ns
        self._periods_ns = _in_ns(periods_ms)
        self._due_ns = {n: due_ns[n] if before.get(n) == ns else now_ns for n, ns in self._periods_ns.items()}

    @property
    def next_ns(self) -> int | None:
        """When the next beat is; None when none comes."""
        return min(self._due_ns.values(), default=None)

    def take(self, now_ns: int) -> list[str]:
        """The names whose beat has come. Not in bursts after a pause: each goes on from now."""
        come = [name for name, due_ns in self._due_ns.items() if due_ns <= now_ns]
        for name in come:
            self._due_ns[name] = max(self._due_ns[name] + self._periods_ns[name], now_ns)
        return come

    def stop(self) -> None:
        """No beat comes any more."""
        self._due_ns.clear()
        self._is_stopped = True


def _in_ns(periods_ms: Mapping[str, float]) -> dict[str, int]:
    return {name: int(period_ms * 1e6) for name, period_ms in periods_ms.items()}
