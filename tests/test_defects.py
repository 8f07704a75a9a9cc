"""Where a part deviates: boxes that fit, worst first, at least one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.defects import MOST_DEFECTS, defects, places

WHOLE = {"check": "part.anomaly", "to_image": lambda box: box, "least_area_px": 1}


def test_a_strong_deviation_is_boxed_at_half_its_height_not_where_it_fades() -> None:
    rows, columns = np.mgrid[:32, :32]
    spread = 100 * np.exp(-((rows - 10) ** 2 + (columns - 16) ** 2) / 32).astype(np.float32)
    ((x, y, width, height), peak) = places(spread, 1.0)[0]
    assert (x, y, width, height) == (12, 6, 9, 9) and peak == 100.0
    assert ((spread >= 1.0).any(0)).sum() == 25, "above the limit it is nearly three times as wide"


def test_a_weak_deviation_beside_a_strong_one_keeps_its_own_box() -> None:
    deviation = np.zeros((20, 20), np.float32)
    deviation[2:5, 2:5] = 90.0
    deviation[12:14, 10:15] = 6.0
    assert [place.box for place in places(deviation, 5.0)] == [(2, 2, 3, 3), (10, 12, 5, 2)]


@given(arrays(np.float32, (6, 7), elements=st.floats(0, 10, width=32)), st.floats(0, 10, width=32))
def test_every_failed_check_shows_at_least_its_worst_cell(deviation: np.ndarray, threshold: float) -> None:
    found = defects(deviation=deviation, threshold=threshold, **WHOLE)
    assert 1 <= len(found) <= MOST_DEFECTS
    assert found[0].score == deviation.max()
    assert [defect.score for defect in found] == sorted((defect.score for defect in found), reverse=True)
    x, y, width, height = found[0].bbox
    assert deviation[y : y + height, x : x + width].max() == deviation.max()
    assert all(d.bbox[0] >= 0 and d.bbox[0] + d.bbox[2] <= 7 and d.bbox[1] + d.bbox[3] <= 6 for d in found)
