"""One question of an operator to the hub, answered or refused in one line."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
from nats.errors import Error

from edge.errors import GoldlineError

# A hub that is there answers in milliseconds; one of a plant far away, in a second or two.
ANSWER_S = 10.0


async def _said(problem: Exception) -> None:
    """The library tells of each attempt; the caller has one line for the last."""


async def asked(server: str, nkey: Path, question: Callable[[Any], Awaitable[Any]]) -> Any:
    """What the question answers that is given the hub's JetStream. Raises GoldlineError."""
    library: Any = nats
    try:
        client = await library.connect(
            server, nkeys_seed=str(nkey), allow_reconnect=False, max_reconnect_attempts=0, error_cb=_said
        )
    except (Error, OSError, TimeoutError, ValueError) as problem:
        raise GoldlineError(f"{server}: cannot be reached: {problem or type(problem).__name__}") from problem
    try:
        return await question(client.jetstream(timeout=ANSWER_S))
    except (Error, OSError, TimeoutError) as problem:
        raise GoldlineError(f"{server}: {problem or type(problem).__name__}") from problem
    finally:
        await client.close()
