"""The computer itself: power, clock, disk, memory, USB."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from edge.camera_config import CameraConfig, SimulatedCamera, V4l2Camera
from edge.doctor.finding import Finding, Machine, Status, in_bytes, weighed
from edge.errors import GoldlineError
from edge.images import frame_bytes

# Where these manage the processors' speed, "powersave" is their ordinary, quick mode.
_SELF_MANAGED = frozenset({"intel_pstate", "amd-pstate-epp"})
# An event with its evidence takes some 2 KiB: a station of 10 parts a second writes 2 GiB in a day.
_WARN_FREE_BYTES, _BAD_FREE_BYTES = 5 << 30, 256 << 20
# What makers of USB3 Vision cameras ask for; the kernel's 16 MB do not hold the transfers of one 5 MP camera.
_USBFS_MB = 1000
# Of the memory that is free, rings may take this share: models and pictures need the rest.
_RING_SHARE = 0.5
_TIME_ERROR, _STA_UNSYNC = 5, 0x40


def power(machine: Machine) -> Iterator[Finding]:
    """Processors that save power answer the first picture after a pause late."""
    modes: dict[str, str] = {}
    for policy in machine.matching("/sys/devices/system/cpu/cpufreq/policy*"):
        below = f"/{policy.relative_to(machine.root)}"
        mode = machine.text(f"{below}/scaling_governor") or ""
        if machine.text(f"{below}/scaling_driver") in _SELF_MANAGED and mode == "powersave":
            mode = machine.text(f"{below}/energy_performance_preference") or "default"
        modes[policy.name] = mode
    if not modes:
        yield Finding(check="power", status=Status.SKIPPED, seen="the processors' speed is not managed here")
        return
    saving = {mode for mode in modes.values() if mode in ("powersave", "power")}
    yield weighed(
        check="power",
        is_well=not saving,
        otherwise=Status.WARN,
        seen=f"processors: {', '.join(sorted(set(modes.values())))}",
        wanted="performance, or what the system chooses by itself",
        mend="cpupower frequency-set --governor performance",
    )


def jetson_power(machine: Machine) -> Iterator[Finding]:
    """NVIDIA's power modes switch processors off. Asked on a Jetson only."""
    program = shutil.which("nvpmodel", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if "Jetson" not in (machine.text("/proc/device-tree/model") or "") or program is None:
        return
    told = subprocess.run([program, "-q"], capture_output=True, text=True, check=False, timeout=10).stdout
    mode = next((line.partition(":")[2].strip() for line in told.splitlines() if "Power Mode" in line), "")
    is_full = mode.upper().startswith("MAXN")
    yield weighed(
        check="jetson-power",
        is_well=is_full,
        otherwise=Status.WARN,
        seen=f"power mode {mode or 'unknown'}",
        wanted="MAXN: every core at full clock",
        mend="nvpmodel -m 0 && jetson_clocks",
    )


class _Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>, as far as it is read, and room for the rest."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    ]


def clock() -> Iterator[Finding]:
    """Events carry the wall clock's time: it should be that of the plant. Asks the kernel, whoever sets the clock."""
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0:
        why = os.strerror(ctypes.get_errno())
        yield Finding(check="clock", status=Status.SKIPPED, seen=f"the kernel does not tell: {why}")
        return
    yield kept(is_kept=state != _TIME_ERROR and not timex.status & _STA_UNSYNC, error_ms=timex.maxerror / 1e3)


def kept(*, is_kept: bool, error_ms: float) -> Finding:
    """Of a clock that somebody sets or nobody."""
    return weighed(
        check="clock",
        is_well=is_kept,
        otherwise=Status.WARN,
        seen=f"synchronized, off by at most {error_ms:.0f} ms" if is_kept else "nobody sets it",
        wanted="synchronized: times in events are labels for people and the MES",
        mend="timedatectl set-ntp true, or apt-get install chrony",
    )


def disk(state_dir: Path, machine: Machine) -> Iterator[Finding]:
    """Events and reference sets need room; a full disk stops events from leaving, though never the line's answers."""
    there = next(folder for folder in (state_dir, *state_dir.parents) if folder.exists())
    if not machine.person.may(there, os.W_OK | os.X_OK):
        who = machine.person.name
        yield Finding(
            check="disk",
            status=Status.BAD,
            seen=f"{who} may not write into {there}",
            wanted=f"state_dir {state_dir} is {who}'s own",
            mend=f"chown -R {who} {there}" if there == state_dir else f"install -d -o {who} -m 0700 {state_dir}",
        )
        return
    usage = shutil.disk_usage(there)
    status = Status.BAD if usage.free < _BAD_FREE_BYTES else Status.WARN if usage.free < _WARN_FREE_BYTES else Status.OK
    yield Finding(
        check="disk",
        status=status,
        seen=f"{in_bytes(usage.free)} free of {in_bytes(usage.total)} for {state_dir}",
        wanted=f"{in_bytes(_WARN_FREE_BYTES)}",
        mend=""
        if status is Status.OK
        else f"see what is large: du -xh -d 3 {there} | sort -h | tail; or set state_dir",
    )


def memory(cameras: Mapping[str, CameraConfig], machine: Machine) -> Iterator[Finding]:
    """Rings are taken whole when a camera is open, and stay."""
    lines = (line.split() for line in (machine.text("/proc/meminfo") or "").splitlines())
    available = next((int(words[1]) * 1024 for words in lines if words[0] == "MemAvailable:"), None)
    known = {name: size for name, config in cameras.items() if (size := _ring_bytes(config)) is not None}
    if available is None or not known:
        return
    needed, left_out = sum(known.values()), len(cameras) - len(known)
    fits = needed <= _RING_SHARE * available
    unknown = f"; {left_out} more whose size is not in config.toml" if left_out else ""
    yield weighed(
        check="memory",
        is_well=fits,
        otherwise=Status.BAD,
        seen=f"rings of {len(known)} camera(s) take {in_bytes(needed)}{unknown}; {in_bytes(available)} are available",
        wanted=f"at most {_RING_SHARE:.0%} of what is available",
        mend="fewer slots of the largest cameras, or more memory",
    )


def _ring_bytes(config: CameraConfig) -> int | None:
    """Of all slots, where the configuration says how large a picture is."""
    features: Mapping[str, object] = getattr(config, "features", {})
    match config:
        case SimulatedCamera():
            size = (config.width, config.height, "BGR8")
        case V4l2Camera():
            size = (config.width, config.height, "YUV422_8")  # no format takes more
        case _:
            size = (features.get("Width"), features.get("Height"), features.get("PixelFormat"))
    match size:
        case (int(width), int(height), str(pixel_format)):
            try:
                return config.slots * frame_bytes(width, height, pixel_format)
            except GoldlineError:  # the camera will say what is wrong with it
                return None
        case _:
            return None


def usb_memory(machine: Machine) -> Iterator[Finding]:
    """USB3 Vision cameras: what all transfers together may take."""
    nodes = list(vision_devices(machine))
    limit = machine.number("/sys/module/usbcore/parameters/usbfs_memory_mb")
    if not nodes or limit is None:
        return
    # 0 is without a bound.
    is_enough = limit == 0 or limit >= _USBFS_MB
    yield weighed(
        check="usb-memory",
        is_well=is_enough,
        otherwise=Status.BAD,
        seen=f"usbfs_memory_mb is {limit}, for {len(nodes)} USB3 Vision camera(s)",
        wanted=str(_USBFS_MB),
        mend=f"echo {_USBFS_MB} > /sys/module/usbcore/parameters/usbfs_memory_mb; to keep it, install deploy/tmpfiles.d/goldline.conf",
    )


def usb_access(machine: Machine) -> Iterator[Finding]:
    """USB3 Vision cameras: the device nodes that a camera library opens."""
    for node in vision_devices(machine):
        may = node.exists() and machine.person.may(node, os.R_OK | os.W_OK)
        who = machine.person.name
        yield weighed(
            check="usb-access",
            is_well=may,
            otherwise=Status.BAD,
            seen=f"{who} {'may' if may else 'may not'} use the camera at {node}",
            wanted="read and write",
            mend="install deploy/udev/60-goldline.rules, then plug the camera in again",
        )


def vision_devices(machine: Machine) -> Iterator[Path]:
    """The nodes of connected USB3 Vision cameras: class 0xEF, subclass 0x05 (USB3 Vision 1.0, section 2.3)."""
    for interface in machine.matching("/sys/bus/usb/devices/*:1.0"):
        below = f"/{interface.relative_to(machine.root)}"
        if (machine.text(f"{below}/bInterfaceClass"), machine.text(f"{below}/bInterfaceSubClass")) != ("ef", "05"):
            continue
        device = below.rpartition(":")[0]
        bus, number = (machine.number(f"{device}/{key}") for key in ("busnum", "devnum"))
        if bus is not None and number is not None:
            yield machine.path(f"/dev/bus/usb/{bus:03}/{number:03}")
