"""The project's own fake camera as a process that takes orders."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge.cameras import gvcp

PATIENCE_S = 60.0


class ToldCamera:
    """A running fake camera. What it says goes to a file, so that it never waits for a reader."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process, self._output = process, output

    def said(self) -> list[dict[str, Any]]:
        """Every line so far."""
        whole = self._output.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def served(self) -> list[dict[str, Any]]:
        """The frames sent so far."""
        return [line for line in self.said() if "frame" in line]

    def answers(self) -> list[dict[str, Any]]:
        """What it answered so far."""
        return [line for line in self.said() if "order" in line]

    def tell(self, order: str) -> None:
        """Without waiting for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{order}\n".encode())
        self.process.stdin.flush()

    def order(self, order: str, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Its answer; one order at a time."""
        before, until_s = len(self.answers()), time.monotonic() + patience_s
        self.tell(order)
        while len(answers := self.answers()) == before:
            assert time.monotonic() < until_s, f"no answer to {order}"
            time.sleep(0.01)
        return answers[before]


@contextmanager
def told_camera(folder: Path, address: str, output: Path, *options: str) -> Iterator[ToldCamera]:
    """It answers at `address`, printing each frame it serves."""
    command = [sys.executable, "-m", "edge.cameras.fake_gige", "--interface", address, "--folder", str(folder)]
    command += ["--serial", f"GL{address[-1]}", "--print-served", *options]
    with output.open("wb") as stdout, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout) as process:
        try:
            until_s = time.monotonic() + PATIENCE_S
            while gvcp.is_controlled(address) is None:
                assert process.poll() is None, f"{command} has ended"
                assert time.monotonic() < until_s, f"{command} does not answer"
                time.sleep(0.02)
            yield ToldCamera(process, output)
        finally:
            process.kill()
