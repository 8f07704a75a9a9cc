"""`goldline doctor` between a camera and the station: real interfaces, sockets and cameras in a wrong state."""

import contextlib
import shlex
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.camera_config import GigeCamera, V4l2Camera
from edge.cameras.camera import Found
from edge.doctor import cameras, host, interfaces, network
from edge.doctor.finding import Finding, Machine, Status
from tests.cameras.gige_bench import STOCK, gige, settings, stock_camera
from tests.cameras.gige_bench import network as own_network
from tests.needs import needs_program
from tests.patients import AWAY, PORT, camera, only, tree


@contextlib.contextmanager
def camera_port(mtu: int) -> Iterator[str]:
    """An interface of that MTU toward AWAY, in a network of its own."""
    ip = needs_program("ip", "iproute2")
    with own_network():
        for words in (
            f"link add port mtu {mtu} type veth peer name far",
            f"address add {PORT}/24 dev port",
            "link set port up",
            "link set far up",
        ):
            subprocess.run([ip, *words.split()], check=True)
        yield "port"


def test_jumbo_packets_on_a_port_without_jumbo_frames_are_found_and_mended() -> None:
    with camera_port(1500) as port:
        found = only(network.packet_size(camera(packet_size_bytes=8000), []))
        assert (found.status, found.seen) == (Status.BAD, f"top: packets of 8000 bytes, {port} takes 1500")
        command = found.mend.partition(",")[0]
        assert command == "ip link set dev port mtu 9000"
        subprocess.run(shlex.split(command), check=True)
        assert only(network.packet_size(camera(packet_size_bytes=8000), [])).status is Status.OK


@pytest.mark.parametrize(("mtu", "size", "status"), [(1500, 1400, "ok"), (1500, 1500, "ok"), (1500, 1501, "bad")])
def test_a_packet_may_fill_the_mtu_and_not_more(mtu, size, status) -> None:
    with camera_port(mtu):
        assert only(network.packet_size(camera(packet_size_bytes=size), [])).status == status


def test_a_camera_by_its_serial_number_is_looked_for_where_it_answered() -> None:
    by_serial = camera(address="SN1", packet_size_bytes=8000)
    assert only(network.packet_size(by_serial, [])).status is Status.SKIPPED
    with camera_port(1500):
        found = [Found(source="gige", address=AWAY, serial="SN1")]
        assert only(network.packet_size(by_serial, found)).status is Status.BAD


def test_without_a_route_nothing_is_claimed() -> None:
    with own_network():
        assert interfaces.toward(AWAY) is None
        assert interfaces.toward("127.0.0.1") == "lo"
        found = only(network.packet_size(camera(), []))
        assert (found.status, found.seen) == (Status.SKIPPED, f"top: no route to {AWAY}")
        assert list(network.card_ring(camera(), [])) == []


def test_a_virtual_port_has_no_ring() -> None:
    with camera_port(1500) as port:
        assert interfaces.ring(port) is None
        assert only(network.card_ring(camera(), [])).status is Status.SKIPPED


def test_the_receive_buffer_is_held_against_the_largest_that_is_asked_for(tmp_path) -> None:
    machine = tree(
        tmp_path, **{"/proc/sys/net/core/rmem_max": "212992", "/proc/self/status": "CapEff:\t0000000000000000"}
    )
    two = camera(receive_buffer_bytes=212_992) | {"side": camera(receive_buffer_bytes=8 << 20)["top"]}
    found = only(network.receive_buffer(two, machine))
    assert (found.status, found.seen) == (Status.BAD, "net.core.rmem_max is 208 KiB")
    assert found.mend.startswith("sysctl -w net.core.rmem_max=8388608;")
    assert only(network.receive_buffer(camera(receive_buffer_bytes=212_992), machine)).status is Status.OK
    assert list(network.receive_buffer({}, machine)) == []


def test_the_receive_buffer_of_this_machine_is_what_its_kernel_says() -> None:
    limit = int(Path("/proc/sys/net/core/rmem_max").read_text())
    for asked, status in ((limit, Status.OK), (limit + 1, Status.BAD)):
        assert only(network.receive_buffer(camera(receive_buffer_bytes=asked), Machine())).status is status


def test_who_may_exceed_the_limit_is_told_that_the_service_may_not(tmp_path) -> None:
    machine = tree(tmp_path, **{"/proc/sys/net/core/rmem_max": "1", "/proc/self/status": "CapEff:\t0000000000001000"})
    assert "this user may exceed it, the service may not" in only(network.receive_buffer(camera(), machine)).seen


def test_datagrams_that_a_socket_could_not_hold_are_seen() -> None:
    with own_network():
        assert only(network.socket_drops(camera(), Machine())).status is Status.OK
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as full, socket.socket(type=socket.SOCK_DGRAM) as sender:
            full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            full.bind(("127.0.0.1", 0))
            for _ in range(100):
                sender.sendto(bytes(1400), full.getsockname())
        found = only(network.socket_drops(camera(), Machine()))
    assert found.status is Status.WARN
    assert int(found.seen.split()[0]) > 50


def test_packets_dropped_by_the_kernel_are_added_up_over_the_processors(tmp_path) -> None:
    rows = "0073c302 0000000a 00000000\n0063b4ef 00000010 00000003"
    machine = tree(tmp_path, **{"/proc/net/softnet_stat": rows, "/proc/sys/net/core/netdev_max_backlog": "1000"})
    found = only(network.backlog(camera(), machine))
    assert (found.status, found.seen.split()[0]) == (Status.WARN, "26")
    assert only(network.backlog(camera(), Machine())).status in (Status.OK, Status.WARN)


def test_packets_that_came_by_the_wrong_port_are_counted(tmp_path) -> None:
    rows = "TcpExt: SyncookiesSent IPReversePathFilter\nTcpExt: 0 7\nIpExt: InNoRoutes\nIpExt: 3"
    found = only(network.reverse_path(camera(), tree(tmp_path, **{"/proc/net/netstat": rows})))
    assert (found.status, found.seen.split()[0]) == (Status.WARN, "7")
    assert only(network.reverse_path(camera(), Machine())).seen.split()[0].isdecimal()


# --- cameras


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[GigeCamera]:
    """A camera on a network of its own."""
    with own_network(), stock_camera(STOCK, tmp_path / "stdout"):
        yield settings(STOCK)


def look(config: GigeCamera, *, station_runs: bool = False) -> Finding:
    return only(cameras.cameras({"top": config}, [], [], station_runs=station_runs))


def test_a_camera_is_free_or_held_or_away(fake) -> None:
    assert look(fake).status is Status.OK
    holder = gige(fake)
    holder.open()
    try:
        assert (look(fake).status, look(fake).mend != "") == (Status.WARN, True)
        assert look(fake, station_runs=True).status is Status.OK
    finally:
        holder.close()
    away = look(settings("127.0.0.3"))
    assert (away.status, away.seen) == (Status.BAD, "top: gige 127.0.0.3 is absent: nothing answers")


def test_a_missing_library_is_bad_where_a_camera_needs_it() -> None:
    notes = ["pylon: pypylon is not installed", "gige: no libaravis"]
    found = list(cameras.cameras(camera(), [], notes, station_runs=False))
    assert [one.seen for one in found if "no libaravis" in one.seen] == ["gige: no libaravis"]
    assert not [one for one in found if "pypylon" in one.seen]


@pytest.mark.parametrize(("mode", "status"), [(0o660, "bad"), (0o666, "ok"), (0o606, "ok"), (0o664, "bad")])
def test_the_node_of_a_video_camera_must_be_the_services_to_use(open_folder, mode, status) -> None:
    machine = tree(open_folder, **{"/dev/video0": ""})
    machine.path("/dev/video0").chmod(mode)
    config = V4l2Camera(source="v4l2", device=Path("/dev/video0"), width=640, height=480)
    found = only(cameras.video_access({"side": config}, machine))
    assert found.status == status
    assert ("usermod -aG video nobody" in found.mend) is (status == "bad")


def test_a_video_camera_that_is_not_plugged_in_says_where_to_look(tmp_path) -> None:
    config = V4l2Camera(source="v4l2", device=Path("/dev/v4l/by-id/x"), width=640, height=480)
    found = only(cameras.video_access({"side": config}, tree(tmp_path)))
    assert (found.status, "/dev/v4l/by-id" in found.mend) == (Status.BAD, True)


def usb(root: Path, limit: str) -> Machine:
    """A machine with one USB3 Vision camera and one keyboard."""
    devices = "/sys/bus/usb/devices"
    machine = tree(
        root,
        **{
            f"{devices}/2-1/busnum": "2",
            f"{devices}/2-1/devnum": "7",
            f"{devices}/2-1:1.0/bInterfaceClass": "ef",
            f"{devices}/2-1:1.0/bInterfaceSubClass": "05",
            f"{devices}/1-1:1.0/bInterfaceClass": "03",
            f"{devices}/1-1:1.0/bInterfaceSubClass": "01",
            "/sys/module/usbcore/parameters/usbfs_memory_mb": limit,
            "/dev/bus/usb/002/007": "",
        },
    )
    machine.path("/dev/bus/usb/002/007").chmod(0o600)
    return machine


def test_usb_vision_cameras_need_memory_and_access(open_folder) -> None:
    machine = usb(open_folder, "16")
    found = only(host.usb_memory(machine))
    assert (found.status, found.seen) == (Status.BAD, "usbfs_memory_mb is 16, for 1 USB3 Vision camera(s)")
    assert only(host.usb_access(machine)).status is Status.BAD
    machine.path("/dev/bus/usb/002/007").chmod(0o666)
    assert only(host.usb_access(machine)).status is Status.OK
    for limit in ("1000", "0"):
        assert only(host.usb_memory(usb(open_folder, limit))).status is Status.OK


def test_without_such_cameras_usb_is_no_matter(tmp_path) -> None:
    machine = tree(tmp_path, **{"/sys/module/usbcore/parameters/usbfs_memory_mb": "16"})
    assert [*host.usb_memory(machine), *host.usb_access(machine)] == []
