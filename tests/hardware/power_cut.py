"""A virtual machine with the station's outbox on a disk of its own, whose power is cut at random moments.

The machine is killed, so its memory is gone. Its disk has a volatile cache, as real ones: every write and every flush is
logged (QEMU's blklogwrites), and what the next life finds is what stood there at the last flush, with any part, in
sectors, of what was written after it. That is all that a disk promises, and the least that it does.

Needs Debian on x86-64, no KVM, no root:
    apt-get install --no-install-recommends qemu-system-x86 busybox-static kmod e2fsprogs
"""

import gzip
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent
DISK_BYTES = 48 << 20
# Sparse: what a life writes in a few seconds is some tens of MB.
LOG_BYTES = 1 << 30
SECTOR = 512
# The format of dm-log-writes: a head, then each request's head in a sector of its own with its data behind it.
LOG_HEAD, LOG_MAGIC = struct.Struct("<QQQI"), 0x6A736677736872
LOG_ENTRY = struct.Struct("<QQQQ")
FLUSH, FUA, DISCARD = 1, 2, 4
# Booting takes 10 s alone on two cores; a busy machine needs several times that.
BOOT_S = 180.0
MODULES = ("virtio_pci", "virtio_blk", "9pnet_virtio", "9p", "crc32c_generic", "ext4")
FOLDERS = (
    "drivers/virtio",
    "drivers/block",
    "fs/9p",
    "fs/netfs",
    "fs/fscache",
    "fs/ext4",
    "fs/jbd2",
    "lib",
    "net/9p",
    "crypto",
)

INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod "$module"; done
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /mnt
for system in proc:proc sysfs:sys devtmpfs:dev tmpfs:run; do $b mount -t ${system%%:*} ${system%%:*} /mnt/${system#*:}; done
$b mkdir /mnt/run/disk
$b mount -t ext4 /dev/vda /mnt/run/disk || $b poweroff -f
synchronous=$($b sed -n 's/.*goldline_synchronous=\\([A-Z]*\\).*/\\1/p' /proc/cmdline)
export PYTHONPATH=%(repository)s PYTHONDONTWRITEBYTECODE=1 HOME=/run TMPDIR=/run LC_ALL=C.UTF-8
$b chroot /mnt %(python)s %(repository)s/tests/hardware/power_cut_guest.py /run/disk/outbox.sqlite3 $synchronous
echo "E $?"
$b poweroff -f
"""


@dataclass
class Life:
    """What the machine said between its boot and its cut."""

    integrity: str = ""
    low: int = 0
    head: int = 0
    aside: str = ""
    found: dict[int, int] = field(default_factory=dict)
    acknowledged: dict[int, int] = field(default_factory=dict)
    blocks: list[tuple[int, int]] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)

    def hear(self, line: str) -> None:
        match line.split():
            case ["K", integrity, low, head]:
                self.integrity, self.low, self.head = integrity, int(low), int(head)
            case ["V", sequence, checksum]:
                self.found[int(sequence)] = int(checksum)
            case ["W", aside]:
                self.aside = aside
            case ["A", sequence, checksum]:
                self.acknowledged[int(sequence)] = int(checksum)
            case ["B", first, last]:
                self.blocks.append((int(first), int(last)))
            case _:
                self.rest.append(line)


class Machine:
    """Kernel, first file system and disk in `folder`; `cut_after` is one life."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.disk = folder / "disk.img"
        self.kernel = self._fetch_kernel()
        self._make_initrd()
        with self.disk.open("wb") as file:
            file.truncate(DISK_BYTES)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-F", self.disk], check=True)

    def cut_after(self, seconds: float, synchronous: str = "FULL") -> Life:
        """Boot, let it run for so long from its first acknowledged event on, cut the power.

        `synchronous`: SQLite's setting; any other than the outbox's own shows that a loss is seen here.
        """
        running, log = self.folder / "running.img", self.folder / "writes.log"
        shutil.copyfile(self.disk, running)
        with log.open("wb") as file:
            file.truncate(LOG_BYTES)
        life = Life()
        with self._boot(running, log, synchronous) as machine:
            assert machine.stdout is not None
            end_s, is_up = time.monotonic() + BOOT_S, False
            while time.monotonic() < end_s and (line := machine.stdout.readline()):
                life.hear(line.decode(errors="replace").strip())
                if life.acknowledged and not is_up:
                    end_s, is_up = time.monotonic() + seconds, True
            machine.send_signal(signal.SIGKILL)
            # What stood on the line already was said before the cut. The last word may be half of one.
            for line in machine.stdout.read().split(b"\n")[:-1]:
                life.hear(line.decode(errors="replace").strip())
        assert is_up, f"it did not come up: {life.rest[-30:]}"
        apply_log(self.disk, log, self.chance)
        return life

    @contextmanager
    def _boot(self, disk: Path, log: Path, synchronous: str) -> Iterator[subprocess.Popen[bytes]]:
        # Requests are logged as they reach the file; the log's own head is not relied upon.
        drive = f"driver=blklogwrites,file.driver=raw,file.file.driver=file,file.file.filename={disk}"
        drive += f",log.driver=raw,log.file.driver=file,log.file.filename={log},log-sector-size={SECTOR}"
        command = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"]
        command += ["-m", "512", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"]
        command += ["-kernel", self.kernel, "-initrd", self.folder / "initrd.gz"]
        command += [
            "-append",
            f"console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off goldline_synchronous={synchronous}",
        ]
        command += ["-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"]
        command += ["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]
        command += ["-blockdev", f"{drive},node-name=disk", "-device", "virtio-blk-pci,drive=disk,write-cache=on"]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as machine:
            try:
                yield machine
            finally:
                machine.kill()

    def _fetch_kernel(self) -> Path:
        """Debian's own: its image, and the modules for this disk and the host's files."""
        depends = subprocess.check_output(["apt-cache", "depends", "linux-image-amd64"], text=True).split()
        package = next(word for word in depends if word.startswith("linux-image-6") or word[12:13].isdigit())
        self.version = package.removeprefix("linux-image-")
        kept = Path(os.environ.get("GOLDLINE_KERNEL_CACHE", self.folder)) / f"{package}-disk"
        if not (kept / "complete").exists():
            kept.mkdir(parents=True, exist_ok=True)
            fetch = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package]
            subprocess.run(fetch, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
            (archive,) = self.folder.glob(f"{package}_*.deb")
            folders = [f"./lib/modules/*/kernel/{one}/*" for one in FOLDERS]
            folders += ["./lib/modules/*/kernel/fs/mbcache.ko", "./lib/modules/*/kernel/arch/x86/crypto/*"]
            names = ["./boot/vmlinuz*", "./lib/modules/*/modules.*", *folders]
            with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as unpacked:
                subprocess.run(["tar", "x", "-C", kept, "--wildcards", *names], stdin=unpacked.stdout, check=True)
            archive.unlink()
            subprocess.run([program("depmod"), "-b", kept, self.version], check=True)
            (kept / "complete").touch()
        self.modules = kept
        return kept / "boot" / f"vmlinuz-{self.version}"

    def _make_initrd(self) -> None:
        root = self.folder / "initrd"
        for name in ("bin", "proc", "sys", "dev", "mnt", "modules"):
            (root / name).mkdir(parents=True)
        shutil.copy(program("busybox"), root / "bin" / "busybox")
        files: list[str] = []
        for module in MODULES:
            shown = [program("modprobe"), "-d", self.modules, "-S", self.version, "--show-depends", module]
            lines = subprocess.check_output(shown, text=True).splitlines()
            files += [line.split()[1] for line in lines if line.startswith("insmod")]
        for number, name in enumerate(dict.fromkeys(files)):
            shutil.copy(name, root / "modules" / f"{number:02}-{Path(name).name}")
        init = root / "init"
        # Named as it was called: behind its link an environment's own packages are not found.
        init.write_text(INIT % {"repository": REPOSITORY, "python": Path(sys.executable).absolute()})
        init.chmod(0o755)
        names = subprocess.check_output(["find", "."], cwd=root)
        packed = subprocess.run(
            [program("busybox"), "cpio", "-o", "-H", "newc"], cwd=root, input=names, capture_output=True, check=True
        )
        (self.folder / "initrd.gz").write_bytes(gzip.compress(packed.stdout, 1))


def program(name: str) -> str:
    """Tools for administrators are not on everybody's PATH."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    assert found is not None, f"needs {name}"
    return found


@dataclass(frozen=True)
class Write:
    """A request of the log: where, how it is to be kept, what."""

    at: int
    flags: int
    data: bytes


def entries(log: mmap.mmap) -> Iterator[Write]:
    """Every whole request of the log; the cut may have torn the last."""
    magic, _version, _count, sector = LOG_HEAD.unpack_from(log)
    assert (magic, sector) == (LOG_MAGIC, SECTOR), "not a log of writes"
    at = SECTOR
    while at + SECTOR <= len(log):
        start, count, flags, _length = LOG_ENTRY.unpack_from(log, at)
        if not (count or flags):
            return
        at += SECTOR
        # A discard has no data behind it; what it leaves on the disk is anything.
        size = 0 if flags & DISCARD else count * SECTOR
        yield Write(start * SECTOR, flags, log[at : at + size])
        at += size


def apply_log(disk: Path, log: Path, chance: random.Random) -> None:
    """Have on the disk what is there after the cut."""
    with log.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        found = list(entries(mapped))
    assert found, "nothing was written"
    with disk.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        apply_entries(content, found, chance)


def apply_entries(disk: mmap.mmap | bytearray, found: list[Write], chance: random.Random) -> None:
    """All up to the last flush, and what was forced through; of each later write any of its sectors, or none."""
    flushed = max((number for number, one in enumerate(found) if one.flags & FLUSH), default=-1)
    for number, one in enumerate(found):
        for place in range(0, len(one.data), SECTOR):
            if number <= flushed or one.flags & FUA or chance.random() < 0.5:
                disk[one.at + place : one.at + place + SECTOR] = one.data[place : place + SECTOR]
