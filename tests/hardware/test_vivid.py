"""V4L2 and USB cameras in a virtual machine: the suites beside this file, run by `vivid.sh` as anybody can."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import needs_program

SCRIPT = Path(__file__).with_name("vivid.sh")
# It takes two minutes on two cores; a machine that is shared may need several times that.
LIMIT_S = 900


@pytest.mark.slow
@pytest.mark.timeout(LIMIT_S + 60)
def test_the_suites_pass_in_the_virtual_machine(tmp_path: Path) -> None:
    for program, package in (
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("busybox", "busybox-static"),
        ("modprobe", "kmod"),
        ("udevadm", "udev"),
        ("apt-get", "apt"),
    ):
        needs_program(program, package)
    if subprocess.run(["apt-cache", "show", "linux-image-amd64"], capture_output=True, check=False).returncode:
        pytest.skip("needs Debian's kernel for x86-64, which apt knows here")
    said = in_machine(tmp_path)
    passed = re.findall(r"^(\d+) passed in", said, re.MULTILINE)
    assert passed and "goldline-guest-ended 0" in said, said[-20_000:]
    print(said)  # its figures, with -s


def in_machine(folder: Path) -> str:
    """What the script printed; its machine is gone with it."""
    with subprocess.Popen(
        [SCRIPT, "--python", sys.executable],
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as running:
        try:
            said, _nothing = running.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired as late:
            os.killpg(running.pid, signal.SIGTERM)
            raise AssertionError(f"it did not end in {LIMIT_S} s: {late.output!r}") from late
    return said
