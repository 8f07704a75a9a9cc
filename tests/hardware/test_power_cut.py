"""The outbox on a disk whose power is cut: nothing acknowledged is lost, no number and no id is given a second time."""

import random
import subprocess

import pytest
from power_cuts import Account, measure

from tests.hardware.power_cut import Life, Write, apply_entries
from tests.needs import needs_program

# Three boots take a minute alone on two cores; a machine that is shared may need several times that.
LIMIT_S = 600


def test_what_was_not_flushed_may_be_gone_in_any_sector_and_what_was_is_there():
    entries = [Write(0, 0, b"a" * 1024), Write(0, 1, b""), Write(512, 0, b"b" * 1024), Write(2048, 2, b"c" * 512)]
    seen = set()
    for seed in range(40):
        disk = bytearray(4096)
        apply_entries(disk, entries, random.Random(seed))
        assert disk[:512] == b"a" * 512
        assert disk[512:1024] in (b"a" * 512, b"b" * 512)
        assert disk[2048:2560] == b"c" * 512
        seen.add((bytes(disk[512:513]), bytes(disk[1024:1025])))
    assert len(seen) == 4


def test_the_account_sees_what_is_lost_changed_reused_and_broken():
    account = Account()
    account.add(Life(integrity="ok", low=0, head=0, aside="-", acknowledged={1: 10, 2: 20, 3: 30}, blocks=[(1, 1024)]))
    assert sum(list(account.figures.values())[2:]) == 0
    after = Life(integrity="malformed", low=1, head=2, aside="-", found={1: 10, 2: 21})
    after.acknowledged, after.blocks = {3: 31}, [(1024, 2047)]
    account.add(after)
    lost, changed, reused, twice, broken = list(account.figures.values())[2:]
    assert (lost, changed, reused, twice, broken) == (1, 1, 1, 1, 1)


@pytest.mark.slow
@pytest.mark.timeout(LIMIT_S)
def test_nothing_acknowledged_is_lost_when_the_power_is_cut():
    for name, package in (
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("busybox", "busybox-static"),
        ("modprobe", "kmod"),
        ("mke2fs", "e2fsprogs"),
    ):
        needs_program(name, package)
    if subprocess.run(["apt-cache", "show", "linux-image-amd64"], capture_output=True, check=False).returncode:
        pytest.skip("needs Debian's kernel for x86-64, which apt knows here")
    figures = measure(2, random.randrange(1_000_000))
    assert figures.pop("cuts") == 2
    assert figures.pop("acknowledged_events") > 0
    assert set(figures.values()) == {0}, figures
