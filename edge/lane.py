"""PROCESS: one lane to a PLC or a broker, by its name in the configuration: `lane@modbus` runs `lanes/modbus.py`."""

import importlib

from edge.errors import GoldlineError
from edge.worker import WorkerContext


def run(context: WorkerContext) -> None:
    """Until told to stop. Raises GoldlineError when the lane's library is not installed."""
    name = context.name.partition("@")[2]
    try:
        lane = importlib.import_module(f"edge.lanes.{name}")
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith("edge."):
            raise
        raise GoldlineError(
            f"[lanes.{name}] needs {missing.name}, which is not installed: pip install 'goldline[{name}]'"
        ) from missing
    lane.run(context)
