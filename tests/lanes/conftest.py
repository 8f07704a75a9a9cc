"""Fixtures of the lanes' tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lanes.lane_line import Make, lane_lines


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes stations of which only the Modbus lane is real."""
    with lane_lines(tmp_path) as making:
        yield making
