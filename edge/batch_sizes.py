"""How many pictures one run of a graph takes: which sizes there are, and up to which a larger one is worthwhile. Pure."""

from collections.abc import Mapping

import msgspec

# The only batch sizes that are run, so that an accelerator never meets a shape it has not compiled.
BATCH_SIZES = (1, 2, 4, 8)
# A larger batch must cut each picture's share to this, or it buys latency with nothing.
WORTHWHILE = 0.9


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Median time of every batch size that was tried, ms, and the largest that is worth its latency."""

    service_ms: dict[int, float]
    max_batch: int


def choose_batch(service_ms: Mapping[int, float], budget_ms: float = 0) -> int:
    """The largest batch inside the budget of which each step up was worthwhile; never less than the smallest."""
    sizes = sorted(service_ms)
    chosen = sizes[0]
    for size in sizes[1:]:
        share, before = service_ms[size] / size, service_ms[chosen] / chosen
        if (budget_ms and service_ms[size] > budget_ms) or share > WORTHWHILE * before:
            break
        chosen = size
    return chosen
