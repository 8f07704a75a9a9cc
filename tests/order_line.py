"""Orders to a station of which only publish is real."""

import contextlib
import threading
from typing import Any

import msgspec

from edge.client import ask
from edge.errors import GoldlineError
from edge.messages import Prepare, Prepared, Run
from tests import values
from tests.publish_line import PATIENCE_S, Line


def order(line: Line, verb: str, **said: Any) -> dict[str, Any]:
    return ask(line.station.events.command, {"verb": verb, **said}, PATIENCE_S)


def state(line: Line) -> dict[str, Any]:
    return order(line, "state")


def is_on(line: Line, name: str = "left") -> bool:
    """What the camera's process was told last of whether it opens triggers."""
    peer = f"capture@{name}"

    def is_told() -> bool:
        for said in line.peers[peer].drain():
            assert isinstance(said, Run), said
            line.runs[peer] = said
        return peer in line.runs

    line.wait_until(is_told, "the camera's process is told")
    return line.runs[peer].is_on


class Asking:
    """An order that is answered later."""

    def __init__(self, line: Line, verb: str, within_s: float = PATIENCE_S, **said: Any) -> None:
        """`within_s`: of one that nobody will answer, the time to wait for that."""
        self.answer: dict[str, Any] = {}
        self._within_s = within_s
        self._thread = threading.Thread(target=lambda: self._ask(line, {"verb": verb, **said}))
        self._thread.start()

    def _ask(self, line: Line, asked: dict[str, Any]) -> None:
        # Nobody answers where publish is killed meanwhile.
        with contextlib.suppress(GoldlineError):
            self.answer = ask(line.station.events.command, asked, self._within_s)

    def wait(self) -> dict[str, Any]:
        self._thread.join(PATIENCE_S)
        return self.answer


def prepared(line: Line, asked: Prepare, problem: str | None = None) -> None:
    """Inspection answers."""
    provenance = msgspec.structs.replace(values.PROVENANCE, product=asked.product, configuration=asked.generation)
    said = Prepared(
        product=asked.product,
        generation=asked.generation,
        variant=asked.variant,
        problem=problem,
        provenance=provenance,
    )
    line.send("inspection", said)
