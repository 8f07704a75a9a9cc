"""Fixtures of every test: none sees this machine's Goldline variables, and none leaves logging changed."""

import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings

from edge import rehearsal
from edge.channel import Channel, pair
from tests.needs import DATA_VARIABLE
from tests.stations import CAMERA, RECIPE, SIZE, write_recipe

if TYPE_CHECKING:
    from tests.publish_line import Line

# Examples are not timed: the machine may be busy with something else. CI draws the same ones each time, so that what
# it says is about the change; a developer's run draws new ones.
settings.register_profile(
    "goldline", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("goldline")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GOLDLINE_ variable of the developer's shell would configure the station under test."""
    for name in os.environ:
        if name.startswith("GOLDLINE_") and name != DATA_VARIABLE:
            monkeypatch.delenv(name)


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """For tests that set logging up: everything as it was, afterwards."""
    hooks = sys.excepthook, threading.excepthook
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with warnings.catch_warnings():
        yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    sys.excepthook, threading.excepthook = hooks


@pytest.fixture
def make_line(tmp_path: Path) -> "Iterator[Callable[..., Line]]":
    """Makes stations of which only publish is real."""
    # Tests in a virtual machine do without: there a file that is read for nothing takes its time.
    from tests.publish_line import lines

    with lines(tmp_path) as make:
        yield make


@pytest.fixture
def channels() -> Iterator[Callable[[], tuple[Channel, Channel]]]:
    """Makes connected channels, closed after the test."""
    made: list[Channel] = []

    def connected() -> tuple[Channel, Channel]:
        left, right = map(Channel, pair())
        made.extend((left, right))
        return left, right

    yield connected
    for channel in made:
        channel.close()


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory with the demo product taught from a dozen pictures."""
    directory = tmp_path_factory.mktemp("taught")
    rehearsal.draw_good_parts(directory / "good", 12, SIZE)
    write_recipe(directory, RECIPE)
    config = rehearsal.write_config(directory, {"left": CAMERA})
    rehearsal.goldline("teach", rehearsal.PRODUCT, "--good", directory / "good", "--config", config)
    return directory


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that anybody can reach: pytest's own are for one user alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)
