"""Since when what publish decides is all here: what a lane may conclude from hearing nothing. Pure."""

# A publish that has come round without a pause for this long has closed what is past its deadline, and said so.
SETTLED_NS = 500_000_000


class Settling:
    """Told of every look at publish; times are CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self._since_ns: int | None = None
        self._looked_ns = 0

    def look(self, now_ns: int, *, is_fresh: bool) -> bool:
        """Whether publish was alive at each look for long enough. `is_fresh`: it is, and what it has decided was read.

        Between two looks that are far apart it may have died and come back: that is a new beginning.
        """
        if not is_fresh:
            self._since_ns = None
        elif self._since_ns is None or now_ns - self._looked_ns >= SETTLED_NS:
            self._since_ns = now_ns
        self._looked_ns = now_ns
        return self._since_ns is not None and now_ns - self._since_ns >= SETTLED_NS
