"""What can befall an installed station, and how long it takes until it answers again. For the tests and the benchmark."""

import time
from collections.abc import Callable

from tests.installed import WITHIN_S, Installed


def kill_worker(station: Installed) -> float:
    """SIGKILL of inspection: the supervisor starts another. Seconds until every worker is warm again."""
    victim = station.workers()["inspection"]
    began_s = time.monotonic()
    station.signal("KILL", victim)
    return _replaced(station, victim, began_s)


def hang_worker(station: Installed) -> float:
    """SIGSTOP of inspection: it beats no more. Seconds until another is warm."""
    victim = station.workers()["inspection"]
    began_s = time.monotonic()
    station.signal("STOP", victim)
    return _replaced(station, victim, began_s)


def kill_supervisor(station: Installed) -> float:
    """SIGKILL of the service's main process, its workers with it. Seconds until systemd's next one is ready."""
    return _restarted(station, "KILL")


def hang_supervisor(station: Installed) -> float:
    """SIGSTOP of the main process: nobody feeds the watchdog. Seconds until systemd's next one is ready."""
    return _restarted(station, "STOP")


def restart(station: Installed) -> float:
    """`systemctl restart`, in seconds."""
    return timed(lambda: station.device.run("systemctl", "restart", station.unit))


def stop(station: Installed) -> float:
    """`systemctl stop`, in seconds."""
    return timed(station.stop)


def start(station: Installed) -> float:
    """`systemctl start`, which returns when the service has said READY=1, in seconds."""
    return timed(station.start)


def timed(act: Callable[[], object]) -> float:
    """How long it took, s."""
    began_s = time.monotonic()
    act()
    return time.monotonic() - began_s


def _replaced(station: Installed, victim: int, began_s: float) -> float:
    def is_replaced() -> bool:
        return station.workers().get("inspection", victim) != victim

    station.device.wait(is_replaced, "inspection is another", WITHIN_S)
    station.wait_ready()
    return time.monotonic() - began_s


def _restarted(station: Installed, signal: str) -> float:
    before, restarts = station.pid, station.restarts
    began_s = time.monotonic()
    station.signal(signal, before)
    station.device.wait(lambda: station.restarts > restarts, "systemd has restarted it", WITHIN_S)
    station.device.wait(lambda: station.is_active, "it has said READY=1", WITHIN_S)
    assert station.pid not in (0, before)
    return time.monotonic() - began_s
