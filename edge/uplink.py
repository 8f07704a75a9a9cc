"""PROCESS: what ties the station to a fleet: its events to the plant, by the NATS server of this device.

One asyncio loop beside everything else: neither a verdict nor a PLC knows whether it is there. What it does are jobs,
each for itself; one whose library is missing or whose server is away says so and tries again.
"""

import asyncio
import importlib
import time
from collections.abc import Awaitable, Callable

import structlog

from edge.channel import ChannelClosed
from edge.messages import Abandon, Commit, Offer, Stop
from edge.metrics import State
from edge.takeover import Takeover
from edge.worker import WorkerContext

# The loop comes round this often, to beat.
BEAT_S = 0.25
# What is missing may be installed meanwhile.
MISSING_S = 30.0
# Module and coroutine of each job: of libraries that the station may lack, so loaded only here.
JOBS = (("edge.fleet.forward", "forward_events"), ("edge.fleet.bring", "bring_products"))

Job = Callable[[WorkerContext], Awaitable[None]]


def run(context: WorkerContext) -> None:
    """Until told to stop. Raises GoldlineError: a file that the configuration names cannot be used."""
    asyncio.run(_serve(context))


async def _serve(context: WorkerContext) -> None:
    """The jobs, until the supervisor says stop or one of them fails."""
    stopping = asyncio.Event()
    takeover = Takeover(context.control)
    asyncio.get_running_loop().add_reader(context.control.fileno(), _hear, context, stopping, takeover)
    tasks = [asyncio.create_task(_job(context, *names)) for names in JOBS]
    ends = [asyncio.create_task(stopping.wait()), asyncio.create_task(_beat(context))]
    try:
        done, _ = await asyncio.wait([*tasks, *ends], return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()
    finally:
        for task in (*tasks, *ends):
            task.cancel()
        await asyncio.gather(*tasks, *ends, return_exceptions=True)


def _hear(context: WorkerContext, stopping: asyncio.Event, takeover: Takeover) -> None:
    try:
        while (heard := context.control.receive_with_descriptor()) is not None:
            match heard:
                case Stop(), _:
                    stopping.set()
                case (Offer() | Commit() | Abandon()) as said, descriptor:
                    takeover.hear(said, descriptor)
                case message, _:
                    structlog.get_logger().error("unexpected message", message=type(message).__name__)
    except ChannelClosed:
        stopping.set()


async def _beat(context: WorkerContext) -> None:
    while True:
        context.page.beat(State.IDLE, time.monotonic_ns())
        await asyncio.sleep(BEAT_S)


async def _job(context: WorkerContext, module: str, name: str) -> None:
    """Once its library is there."""
    while (job := _loaded(module, name)) is None:  # noqa: ASYNC110 - nobody could say that it is installed now
        await asyncio.sleep(MISSING_S)
    await job(context)


def _loaded(module: str, name: str) -> Job | None:
    importlib.invalidate_caches()
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("edge."):
            raise
        structlog.get_logger().error(
            "[fleet] needs a library that is not installed: pip install 'goldline[fleet]'",
            library=missing.name,
            retry_s=MISSING_S,
        )
        return None
