"""The GigE Vision cameras that several modules share, in a network of the tests' own."""

from collections.abc import Iterator

import pytest

from tests.cameras.gige_bench import (
    OWN,
    STOCK,
    WIRE,
    WireCamera,
    network,
    own_camera,
    stock_camera,
    wire_camera,
    write_pictures,
)


@pytest.fixture(scope="module")
def loopback() -> Iterator[None]:
    """A network of the tests' own, with no camera in it."""
    with network():
        yield


@pytest.fixture
def wire(loopback: None) -> Iterator[WireCamera]:
    """A camera written from the standard's text, anew for each test."""
    with wire_camera(WIRE) as camera:
        yield camera


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Debian's fake camera, in a network of the tests' own."""
    with network(), stock_camera(STOCK, tmp_path_factory.mktemp("stock") / "stdout"):
        yield STOCK


@pytest.fixture(scope="module")
def own(stock: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of this project's fake camera, serving three small colour pictures."""
    folder = tmp_path_factory.mktemp("own")
    write_pictures(folder, count=3)
    with own_camera(folder, OWN, folder / "stdout"):
        yield OWN
