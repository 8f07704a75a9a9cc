"""The steps of deploy/docker/Dockerfile without an engine: each COPY and RUN in a Debian of its own, with its seconds.

    pip download --dest wheels hatchling 'goldline[cpu] @ file://...'
    sudo .venv/bin/python benchmarks/docker_steps.py --wheels wheels

Shows that the steps work and that the image's command gets ready; not layers, the cache, or what an engine closes. `RUN
apt-get` is left out: the Debian has Python already. pip takes its wheels from a folder. Needs root and mmdebstrap.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from command_line import cannot, need, without, without_root, without_tests

if lacking := without_tests():
    cannot(f"needs {lacking}")

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.debian_root import ROOT, debian
from tests.test_docker import instructions

# A chroot with what a container's runtime mounts; `$0` is the root, the rest is the command.
ENTER = 'mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; exec chroot "$0" "$@"'
WHEELS = "/wheelhouse"
PIP = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": WHEELS, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def stage_root(place, base, script):
    """A folder that is `base` with changes on top, while `script` runs in its mount namespace."""
    for name in ("upper", "work", "root"):
        (place / name).mkdir(parents=True, exist_ok=True)
    overlay = f"lowerdir={base},upperdir={place / 'upper'},workdir={place / 'work'}"
    shell = f"mount -t overlay overlay {place / 'root'} -o {overlay}; {script}"
    subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", shell], check=True)


def enter(place, command, user=None):
    who = [f"--userspec={user}"] if user else []
    return shlex.join(
        [
            "sh",
            "-ec",
            ENTER.replace('chroot "$0"', shlex.join(["chroot", *who]) + ' "$0"'),
            str(place / "root"),
            *command,
        ]
    )


def timed(what, do):
    began_s = time.monotonic()
    do()
    print(f"{time.monotonic() - began_s:7.1f} s  {what[:110]}", flush=True)


def copy(words, place, stages):
    *sources, target = [word for word in words if not word.startswith("--")]
    origin = next((stages[word.partition("=")[2]] / "upper" for word in words if word.startswith("--from=")), ROOT)
    folder = place / "upper" / target.strip("/")
    for source in sources:
        path = origin / source.strip("/")
        if path.is_dir():
            shutil.copytree(path, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder)


def carry_out(folder, base, wheels):
    stages, arguments, place = {}, {}, folder
    for word, rest in instructions("Dockerfile"):
        if word == "FROM":
            place = folder / str(len(stages))
            shutil.copytree(wheels, place / "upper" / WHEELS.strip("/"))
            stages[rest.partition(" AS ")[2] or "image"] = place
        elif word == "ARG" and "=" in rest:
            arguments |= dict([rest.split("=", 1)])
        elif word == "COPY":
            timed(f"COPY {rest}", lambda rest=rest, place=place: copy(shlex.split(rest), place, stages))
        elif word == "RUN" and not rest.startswith("apt-get"):
            variables = [f"{name}={value}" for name, value in (arguments | PIP).items()]
            command = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *variables, "sh", "-ec", rest]
            timed(f"RUN {rest}", lambda command=command, place=place: stage_root(place, base, enter(place, command)))
    return stages["image"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, required=True, help="all that pip is to install, hatchling too")
    wheels = parser.parse_args().wheels
    need(without_root(), without("mmdebstrap", "mmdebstrap"))
    with tempfile.TemporaryDirectory() as folder:
        base = debian()
        image = carry_out(Path(folder), base, wheels)
        run = ["/opt/goldline/bin/goldline", "run", "--config", "/etc/goldline/config.toml", "--for", "5"]
        # In a network of its own: its ports are those of the configuration.
        before = (
            f"mkdir -p {image / 'root'}/run/goldline; chown 990:990 {image / 'root'}/run/goldline; ip link set lo up; "
        )
        enter_network = f"exec unshare --net sh -ec {shlex.quote(before + enter(image, run, '990:990'))}"
        timed("ENTRYPOINT and CMD, as USER, --for 5", lambda: stage_root(image, base, enter_network))


if __name__ == "__main__":
    main()
