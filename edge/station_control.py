"""Talk to the running station's supervisor over `control.sock` in its runtime directory: one JSON line each way.

{"verb":"status"}                  ─▶ `Status`
{"verb":"reload","dry_run":false}  ─▶ `Outcome`

The socket is the station's user's alone (0600): who may connect may also end the station by a signal. Fleets activate a
recipe or a reference set that was rolled out by `reload`, as `goldline reload` does.
"""

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from edge.change import Change
from edge.errors import GoldlineError

SOCKET = "control.sock"
# What became of the newest reload, beside it.
OUTCOME_FILE = "reload.json"
# The answer to a question; a reload may load a product, for which an engine may have to be built.
STATUS_WITHIN_S, RELOAD_WITHIN_S = 10.0, 960.0
# An answer names every key that differs; no station has so many.
MAX_ANSWER_BYTES = 4 << 20

Answer = TypeVar("Answer")


class ReloadOrder(
    msgspec.Struct, frozen=True, kw_only=True, tag="reload", tag_field="verb", forbid_unknown_fields=True
):
    """Take over what stands in the configuration, in the recipe and in the active reference set now."""

    dry_run: bool = False


class StatusOrder(
    msgspec.Struct, frozen=True, kw_only=True, tag="status", tag_field="verb", forbid_unknown_fields=True
):
    """What the supervisor alone knows."""


AnyControl = ReloadOrder | StatusOrder


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a reload.

    `applied`: the station goes by it from `generation` on. `unchanged`: nothing differs from what runs. `planned`: a dry
    run that would be applied. `rejected`: nothing was changed, and `problem` says why, a line for each.
    `unfinished`: workers that were still being started anew, or had not said that they go by it, when this was answered.
    """

    outcome: Literal["applied", "unchanged", "planned", "rejected"]
    changes: tuple[Change, ...] = ()
    problem: str | None = None
    generation: int | None = None
    took_ms: float = 0.0
    unfinished: tuple[str, ...] = ()


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One process. `state` is `starting`, `warmup`, `idle`, `busy`, `stopping`, or `down`; restarts are by cause."""

    name: str
    pid: int | None
    state: str
    silent_s: float
    restarts: dict[str, int]
    resident_bytes: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor alone knows. Times are of the wall clock, in seconds since 1970.

    `differs`: how many keys a reload would change; None where the file cannot be taken, and `problem` says why.
    """

    pid: int
    started: float
    is_ready: bool
    is_reloading: bool
    generation: int
    product: str
    configuration: str | None
    differs: int | None
    problem: str | None
    newest_reload: Outcome | None
    workers: tuple[WorkerStatus, ...]


def status(runtime: Path, within_s: float = STATUS_WITHIN_S) -> Status:
    """How the station on this runtime directory is. Raises GoldlineError where none answers."""
    return ask(runtime, StatusOrder(), Status, within_s)


def reload(runtime: Path, *, dry_run: bool = False, within_s: float = RELOAD_WITHIN_S) -> Outcome:
    """Have it take over its configuration, its recipe and its active reference set as they stand now, or say why not.

    Returns when it goes by them. Raises GoldlineError where no station answers.
    """
    return ask(runtime, ReloadOrder(dry_run=dry_run), Outcome, within_s)


def ask(runtime: Path, order: AnyControl, kind: type[Answer], within_s: float) -> Answer:
    """One order, and its answer. Raises GoldlineError."""
    try:
        with _connected(runtime, within_s) as connection:
            connection.sendall(msgspec.json.encode(order) + b"\n")
            if not (answer := _line(connection)):
                raise GoldlineError(f"{runtime}: the station hung up without an answer; its log may say why")
            return msgspec.json.decode(answer, type=kind)
    except TimeoutError as problem:
        raise GoldlineError(f"{runtime}: the station did not answer within {within_s:g} s") from problem
    except (FileNotFoundError, ConnectionError, NotADirectoryError) as problem:
        raise GoldlineError(f"{runtime}: no station is running here") from problem
    except OSError as problem:
        raise GoldlineError(f"{runtime}: the station cannot be asked: {problem.strerror}") from problem
    except msgspec.DecodeError as problem:
        raise GoldlineError(f"{runtime}: the station's answer is not understood: {problem}") from problem


def _line(connection: socket.socket) -> bytes:
    """Empty where it is hung up before a line has come."""
    received = b""
    while not received.endswith(b"\n") and len(received) < MAX_ANSWER_BYTES:
        if not (more := connection.recv(65_536)):
            return b""
        received += more
    return received


@contextmanager
def _connected(runtime: Path, within_s: float) -> Generator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, addressed(runtime) as address:
        connection.settimeout(within_s)
        connection.connect(address)
        yield connection


@contextmanager
def addressed(runtime: Path) -> Generator[str]:
    """The socket's address, by a descriptor of its directory: a path of any length fits where 107 bytes do."""
    directory = os.open(runtime, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{SOCKET}"
    finally:
        os.close(directory)
