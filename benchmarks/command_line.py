"""What the benchmarks' command lines have in common: bad words, or a machine that lacks something, are one line and exit code 2."""

import argparse
import importlib.util
import math
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from edge.errors import GoldlineError

# 0: measured, and nothing promised was broken. 1: something was. 2: nothing could be measured.
CANNOT_RUN, INTERRUPTED = 2, 130


class Parser(argparse.ArgumentParser):
    """Of a script's own words, which are its help."""

    def __init__(self, words):
        super().__init__(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message):
        self.exit(CANNOT_RUN, f"{self.prog}: {message}\n")


def above_zero(text):
    """A number that is more than 0."""
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")


def at_least(least):
    """A whole number, this one or more."""

    def number(text):
        with suppress(ValueError):
            if int(text) >= least:
                return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")

    return number


def without(program, package):
    """None where this program is there; else what is missing, in words. `package` is Debian's. A path may have a `*`."""
    if program.startswith("/"):
        is_there = any(Path("/").glob(program.lstrip("/")))
    else:
        # Tools for administrators are not on everybody's PATH.
        is_there = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    return None if is_there else f"{Path(program).name} (apt-get install {package})"


def without_module(name, extra):
    """The same of a Python module that one of the project's extras brings."""
    return None if importlib.util.find_spec(name) else f'{name} (pip install "goldline[{extra}]")'


def without_tests():
    """The same for a script that shares parts with the tests."""
    return None if importlib.util.find_spec("pytest") else "pytest (make test-environment)"


def without_root():
    return None if os.geteuid() == 0 else "root"


def need(*lacking):
    """End here, where anything is missing: `without` and its like."""
    if missing := [one for one in lacking if one]:
        cannot(f"needs {', '.join(missing)}")


def cannot(why):
    print(f"{Path(sys.argv[0]).name}: {why}", file=sys.stderr)
    raise SystemExit(CANNOT_RUN)


def run(main):
    """A script's `main`; what a user can put right is one line. Told to end, it ends what it has started."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except GoldlineError as problem:
        cannot(problem)
    except subprocess.CalledProcessError as failed:
        # The program has said on stderr why.
        cannot(f"{Path(str(failed.cmd[0])).name} failed, exit code {failed.returncode}")
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)
