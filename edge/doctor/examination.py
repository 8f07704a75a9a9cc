"""Every check, in the order in which a person mends: the machine, the network, the cameras, what judges."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from edge.cameras.discovery import Discovery, discover
from edge.config import Station, runtime_directory
from edge.doctor import accelerator, cameras, host, network, ports
from edge.doctor.finding import Finding, Machine
from edge.errors import GoldlineError
from edge.running import is_station_running

if TYPE_CHECKING:
    from edge.camera_config import GigeCamera

Check = Callable[[], Iterator[Finding]]
# Those that ask the network which cameras answer, which takes seconds.
_DISCOVERING = frozenset({"packet-size", "card-ring", "cameras"})


def checks(station: Station, seen: Discovery, machine: Machine) -> dict[str, Check]:
    """By name, in order."""
    gige: Mapping[str, GigeCamera] = network.gige_cameras(station.cameras)
    runs = is_station_running(runtime_directory(station)) is True
    return {
        "clock": host.clock,
        "power": partial(host.power, machine),
        "jetson-power": partial(host.jetson_power, machine),
        "disk": partial(host.disk, station.state_dir, machine),
        "memory": partial(host.memory, station.cameras, machine),
        "ports": partial(ports.ports, station, machine, station_runs=runs),
        "packet-size": partial(network.packet_size, gige, seen.found),
        "receive-buffer": partial(network.receive_buffer, gige, machine),
        "backlog": partial(network.backlog, gige, machine),
        "socket-drops": partial(network.socket_drops, gige, machine),
        "reverse-path": partial(network.reverse_path, gige, machine),
        "card-ring": partial(network.card_ring, gige, seen.found),
        "capabilities": partial(network.capabilities, gige),
        "usb-memory": partial(host.usb_memory, machine),
        "usb-access": partial(host.usb_access, machine),
        "video-access": partial(cameras.video_access, station.cameras, machine),
        "cameras": partial(cameras.cameras, station.cameras, seen.found, seen.notes, station_runs=runs),
        "wheels": accelerator.wheels,
        "provider": partial(accelerator.provider, station.inference),
        "gpu": partial(accelerator.gpu, station.inference, machine),
    }


def examine(
    station: Station, names: Sequence[str] = (), tell: Callable[[str, int, int], None] | None = None
) -> list[Finding]:
    """What every check found, or those of these names. Raises GoldlineError for a name that is no check."""
    known = list(checks(station, Discovery(found=()), Machine()))
    for name in names:
        if name not in known:
            raise GoldlineError(f"{name}: no such check; there are {', '.join(known)}")
    wanted = [name for name in known if name in names] if names else known
    report = tell or _tell_nobody
    report("looking for cameras", 0, 1)
    asks = _DISCOVERING & set(wanted)
    seen = discover(station.cameras, configured_only=True) if asks else Discovery(found=())
    chosen = checks(station, seen, Machine())
    findings: list[Finding] = []
    for number, name in enumerate(wanted, start=1):
        findings += chosen[name]()
        report("checks", number, len(wanted))
    return findings


def _tell_nobody(_stage: str, _done: int, _total: int) -> None:
    """Nobody watches."""
