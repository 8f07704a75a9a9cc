"""Between a GigE camera and the station's memory: packet size, receive buffer, the network card's ring, drops."""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from edge.camera_config import CameraConfig, GigeCamera
from edge.cameras.camera import Found
from edge.doctor import interfaces
from edge.doctor.finding import Finding, Machine, Status, in_bytes, weighed

# What a packet's headers leave of a jumbo frame for pixels: the largest that every camera and switch agrees on.
_JUMBO_MTU = 9000
# CAP_NET_ADMIN in /proc/self/status: whoever has it may exceed net.core.rmem_max.
_CAP_NET_ADMIN = 12
_SYSCTL = "install deploy/sysctl.d/60-goldline.conf"


def gige_cameras(cameras: Mapping[str, CameraConfig]) -> dict[str, GigeCamera]:
    """Those that send packets, or may: which of them are USB3 Vision cameras the configuration does not say."""
    return {name: config for name, config in cameras.items() if isinstance(config, GigeCamera)}


def address_on_network(config: GigeCamera, found: Iterable[Found]) -> str | None:
    """The camera's IP address: as configured, or as it answered; None for one on USB, or that is away."""
    known = {word: one.address for one in found if one.source == "gige" for word in (one.serial, one.name, one.address)}
    for candidate in (config.address, known.get(config.address, "")):
        try:
            return str(ipaddress.IPv4Address(candidate))
        except ValueError:
            continue
    return None


def packet_size(cameras: Mapping[str, GigeCamera], found: Iterable[Found]) -> Iterator[Finding]:
    """A packet larger than the interface's MTU never arrives whole."""
    for name, config in cameras.items():
        address = address_on_network(config, found)
        interface = None if address is None else interfaces.toward(address)
        size, key = config.packet_size_bytes, f"cameras.{name}.packet_size_bytes"
        if interface is None:
            seen = f"{name}: its IP address is not known" if address is None else f"{name}: no route to {address}"
            yield Finding(check="packet-size", status=Status.SKIPPED, seen=seen)
            continue
        mtu = interfaces.mtu(interface)
        fits = size <= mtu
        yield weighed(
            check="packet-size",
            is_well=fits,
            otherwise=Status.BAD,
            seen=f"{name}: packets of {size} bytes, {interface} takes {mtu}",
            wanted=f"an MTU of at least {size}",
            mend=f"ip link set dev {interface} mtu {_JUMBO_MTU}, or {key} = {mtu}; deploy/networkd keeps it",
        )


def receive_buffer(cameras: Mapping[str, GigeCamera], machine: Machine) -> Iterator[Finding]:
    """What the kernel may hold until the station takes it: a frame comes as one burst."""
    if not cameras:
        return
    asked = max(config.receive_buffer_bytes for config in cameras.values())
    allowed = machine.number("/proc/sys/net/core/rmem_max")
    if allowed is None:
        seen = "net.core.rmem_max cannot be read here"
        yield Finding(check="receive-buffer", status=Status.SKIPPED, seen=seen)
        return
    exceeds = " (this user may exceed it, the service may not)" if _may_exceed(machine) else ""
    yield weighed(
        check="receive-buffer",
        is_well=allowed >= asked,
        otherwise=Status.BAD,
        seen=f"net.core.rmem_max is {in_bytes(allowed)}{exceeds}",
        wanted=f"{in_bytes(asked)}, the largest receive_buffer_bytes",
        mend=f"sysctl -w net.core.rmem_max={asked}; to keep it, {_SYSCTL}",
    )


def _may_exceed(machine: Machine) -> bool:
    for line in (machine.text("/proc/self/status") or "").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_NET_ADMIN & 1)
    return False


def capabilities(cameras: Mapping[str, GigeCamera]) -> Iterator[Finding]:
    """Said because other software for such cameras needs them."""
    if cameras:
        yield Finding(
            check="capabilities",
            status=Status.OK,
            seen="none is needed: plain UDP sockets",
            wanted="neither CAP_NET_RAW nor CAP_NET_ADMIN",
        )


def backlog(cameras: Mapping[str, GigeCamera], machine: Machine) -> Iterator[Finding]:
    """Packets that the kernel dropped between the network card and the sockets, since it started."""
    rows = (machine.text("/proc/net/softnet_stat") or "").splitlines()
    if not cameras or not rows:
        return
    # One row for each processor; the second hexadecimal column counts what did not fit into its queue.
    dropped = sum(int(row.split()[1], 16) for row in rows)
    limit = machine.number("/proc/sys/net/core/netdev_max_backlog")
    yield weighed(
        check="backlog",
        is_well=not dropped,
        otherwise=Status.WARN,
        seen=f"{dropped} packets dropped since the machine started; net.core.netdev_max_backlog is {limit}",
        wanted="0 dropped",
        mend=f"sysctl -w net.core.netdev_max_backlog=10000; to keep it, {_SYSCTL}",
    )


def socket_drops(cameras: Mapping[str, GigeCamera], machine: Machine) -> Iterator[Finding]:
    """Datagrams that found their socket's buffer full, since the machine started."""
    counts = _counters(machine, "/proc/net/snmp", "Udp:")
    if not cameras or not counts:
        return
    dropped = counts["RcvbufErrors"]
    yield weighed(
        check="socket-drops",
        is_well=not dropped,
        otherwise=Status.WARN,
        seen=f"{dropped} of {counts['InDatagrams'] + dropped} datagrams found a full socket since the machine started",
        wanted="0",
        mend="see receive-buffer; goldline_camera_incomplete_frames_total says whether it goes on",
    )


def reverse_path(cameras: Mapping[str, GigeCamera], machine: Machine) -> Iterator[Finding]:
    """Packets that came in where no route leads back, which the kernel throws away: a camera on the wrong port."""
    counts = _counters(machine, "/proc/net/netstat", "TcpExt:")
    if not cameras or not counts:
        return
    dropped = counts["IPReversePathFilter"]
    yield weighed(
        check="reverse-path",
        is_well=not dropped,
        otherwise=Status.WARN,
        seen=f"{dropped} packets came by a port that no route leads back to, since the machine started",
        wanted="0: each camera in the network of the port that it is on",
        mend="ip route get ADDRESS names the port toward a camera; give that port an address of its own",
    )


def _counters(machine: Machine, file: str, label: str) -> dict[str, int]:
    """A pair of lines, names and values, as the kernel's network tables have them."""
    rows = [row.split() for row in (machine.text(file) or "").splitlines() if row.startswith(label)]
    return dict(zip(rows[0][1:], map(int, rows[1][1:]), strict=True)) if len(rows) == 2 else {}


def card_ring(cameras: Mapping[str, GigeCamera], found: Iterable[Found]) -> Iterator[Finding]:
    """The network card's own memory for packets: a burst that overflows it is lost before the kernel hears of it."""
    addresses = filter(None, (address_on_network(config, found) for config in cameras.values()))
    for interface in sorted({one for address in addresses if (one := interfaces.toward(address))}):
        ring = interfaces.ring(interface)
        if ring is None:
            yield Finding(check="card-ring", status=Status.SKIPPED, seen=f"{interface} has no ring of its own")
            continue
        is_full = ring.now >= ring.most
        yield weighed(
            check="card-ring",
            is_well=is_full,
            otherwise=Status.WARN,
            seen=f"{interface} holds {ring.now} packets",
            wanted=f"{ring.most}, the most it can",
            mend=f"ethtool -G {interface} rx {ring.most}; deploy/networkd keeps it",
        )
