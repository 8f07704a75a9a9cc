"""What a device should have: pure, from what is shipped and where it is to run.

/etc/goldline/config.toml          the station; yours from the first day
/etc/systemd/system                goldline.service, goldline@.service, goldline-nats.service, goldline-hub.service
/etc/{sysusers,tmpfiles,sysctl}.d, /etc/udev/rules.d
/usr/local/bin/goldline            -> the program's environment
/usr/local/share/goldline          -> what is shipped with it: Prometheus' rules, Grafana's dashboards, ...
/var/lib/goldline                  the state, with the products' recipes: a roll-out of the fleet changes them
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from edge.errors import GoldlineError
from edge.installing.items import Command, Directory, File, Item, Keep, Link

USER = "goldline"
CONFIG = "/etc/goldline/config.toml"
STATE = "/var/lib/goldline"
SERVICE = "goldline.service"
# Of a fleet: the server beside the station, and the plant's. Neither is started before somebody configured it.
NATS_SERVICES = ("goldline-nats.service", "goldline-hub.service")
UNITS = "/etc/systemd/system"
# Every station of the device, as systemctl matches those that run.
STATIONS = (SERVICE, "goldline@*.service")
PROGRAM_LINK = "/usr/local/bin/goldline"
SHARE_LINK = "/usr/local/share/goldline"
DEMO = "trunk"
# As config.toml and the units name them in the source tree.
_SHIPPED_PROGRAMS = "/opt/goldline/bin/"
# Where goldline.service sees nothing, or something else: ProtectHome, PrivateTmp, TemporaryFileSystem.
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp", "/var/lib")  # noqa: S108 - nothing is put there
# A station's id: lower-case letters, digits, - and _.
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9_-]+")
# As useradd(8) has it; a unit and a sysusers file take it as it is.
_A_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")

Read = Callable[[str], bytes]


@dataclass(frozen=True, kw_only=True)
class Target:
    """The device. `program`: the `goldline` that its service starts; `share`: where what is shipped lies."""

    program: str
    python: str
    share: str
    station_id: str
    user: str = USER


# Commands by their names, which the manifest keeps.
MAKE_USER, MAKE_NODES, SET_KERNEL, READ_RULES, APPLY_RULES = "user", "tmpfiles", "sysctl", "udev", "udev trigger"
OWN_STATE, READ_UNITS, ENABLE, TEACH, START, RESTART = "own", "daemon-reload", "enable", "teach", "start", "restart"
# What a running systemd does, and what a shared or read-only kernel may refuse.
OF_SYSTEMD = frozenset({MAKE_NODES, SET_KERNEL, READ_RULES, APPLY_RULES, READ_UNITS, START, RESTART})


def layout(target: Target, read: Read) -> list[Item]:
    """Every item, in the order in which they are made. `read` gives a shipped file's content by its name.

    Raises GoldlineError for an environment that the service would not see, and for a user that it cannot have.
    """
    refuse_hidden(target.program)
    refuse_user(target.user)
    return [*_system(target, read), *_station(target, read), *_service(target, read)]


def refuse_hidden(program: str) -> None:
    """Raises GoldlineError where the service, which is kept from most of the device, cannot reach the program."""
    for folder in HIDDEN:
        if program.startswith(folder + "/"):
            raise GoldlineError(
                f"{program}: the service sees nothing below {folder}: install into another place, "
                f"python3 -m venv /opt/goldline"
            )


def refuse_user(user: str) -> None:
    """Raises GoldlineError for what cannot be the service's user."""
    if user == "root" or not _A_USER.fullmatch(user):
        raise GoldlineError(
            f"--user {user!r}: must be a user of its own: lower-case letters, digits, _ and -; not root"
        )


def _system(target: Target, read: Read) -> list[Item]:
    sysusers = _root_file("/etc/sysusers.d/goldline.conf", _with_user(read("systemd/sysusers.d/goldline.conf"), target))
    tmpfiles = _root_file("/etc/tmpfiles.d/goldline.conf", read("deploy/tmpfiles.d/goldline.conf"))
    sysctl = _root_file("/etc/sysctl.d/60-goldline.conf", read("deploy/sysctl.d/60-goldline.conf"))
    rules = _root_file("/etc/udev/rules.d/60-goldline.rules", read("deploy/udev/60-goldline.rules"))
    return [
        sysusers,
        Command(name=MAKE_USER, words=("systemd-sysusers", "goldline.conf"), after=(sysusers.path,)),
        Link(path=PROGRAM_LINK, target=target.program),
        Link(path=SHARE_LINK, target=target.share),
        tmpfiles,
        _optional(MAKE_NODES, ("systemd-tmpfiles", "--create", "goldline.conf"), tmpfiles.path),
        sysctl,
        _optional(SET_KERNEL, ("systemd-sysctl", "60-goldline.conf"), sysctl.path),
        rules,
        _optional(READ_RULES, ("udevadm", "control", "--reload"), rules.path),
        _optional(APPLY_RULES, ("udevadm", "trigger", "--subsystem-match=usb"), rules.path),
    ]


def _station(target: Target, read: Read) -> list[Item]:
    products = f"{STATE}/pipelines"
    recipe = f"{products}/{DEMO}/recipe.toml"
    return [
        Directory(path="/etc/goldline", owner="root"),
        File(path=CONFIG, content=first_config(read("config.toml"), target), owner="root", keep=Keep.YOURS),
        # As StateDirectoryMode of the unit.
        Directory(path=STATE, owner=target.user, mode=0o700),
        Command(name=OWN_STATE, words=("chown", "-R", f"{target.user}:", STATE)),
        Directory(path=products, owner=target.user),
        File(path=f"{products}/README.md", content=read("pipelines/README.md"), owner=target.user),
        Directory(path=f"{products}/{DEMO}", owner=target.user),
        File(path=recipe, content=read(f"pipelines/{DEMO}/recipe.toml"), owner=target.user, keep=Keep.YOURS),
    ]


def _service(target: Target, read: Read) -> list[Item]:
    units = [
        _root_file(f"{UNITS}/{name}", _with_user(_with_program(read(f"systemd/{name}"), target), target))
        for name in (SERVICE, "goldline@.service", *NATS_SERVICES)
    ]
    paths = tuple(unit.path for unit in units)
    return [
        *units,
        Command(name=READ_UNITS, words=("systemctl", "daemon-reload"), after=paths),
        # Once: a person may have disabled or stopped it since.
        Command(name=ENABLE, words=("systemctl", "enable", SERVICE)),
        Command(name=TEACH, words=(target.python, "-m", "edge.demo", "--config", CONFIG), as_user=target.user),
        Command(name=START, words=("systemctl", "restart", SERVICE)),
        # Those that run, and no others.
        Command(name=RESTART, words=("systemctl", "try-restart", *STATIONS, *NATS_SERVICES), after=paths),
    ]


def first_config(shipped: bytes, target: Target) -> bytes:
    """The configuration that a device starts with: the demo, by this device's name and folders."""
    text = shipped.decode()
    for old, new in (
        ('station_id = "demo"', f'station_id = "{target.station_id}"'),
        ('state_dir = "state"', f'state_dir = "{STATE}"'),
        ('# pipelines_dir = "pipelines"', f'pipelines_dir = "{STATE}/pipelines"'),
        # systemd gives it to the service; the commands that people give beside it read it here.
        ('# runtime_dir = "/run/goldline" #', 'runtime_dir = "/run/goldline"   #'),
    ):
        text = _replaced(text, old, new)
    return text.encode()


def station_id(hostname: str) -> str:
    """A station's id from the device's name."""
    return _NOT_IN_A_NAME.sub("-", hostname.partition(".")[0].lower()).strip("-_")[:40] or "station"


def _with_program(unit: bytes, target: Target) -> bytes:
    folder = target.program.rpartition("/")[0]
    return unit.decode().replace(_SHIPPED_PROGRAMS, f"{folder}/").encode()


def _with_user(content: bytes, target: Target) -> bytes:
    """A unit or a sysusers file for another user than goldline; its own words elsewhere are left."""
    pattern = rf"^(User=|Group=|[um] ){USER}(?=\s)"
    return re.sub(pattern, rf"\g<1>{target.user}", content.decode(), flags=re.MULTILINE).encode()


def _replaced(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise GoldlineError(f"what is shipped is not as expected: {old!r} is there {text.count(old)} times")
    return text.replace(old, new)


def _root_file(path: str, content: bytes) -> File:
    return File(path=path, content=content, owner="root")


def _optional(name: str, words: tuple[str, ...], *after: str) -> Command:
    return Command(name=name, words=words, after=after, is_needed=False)
