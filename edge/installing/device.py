"""One installation on one device: looks, plans, and carries out, with the manifest before and after."""

import os
import shutil
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edge import __version__, shipped
from edge.errors import GoldlineError
from edge.installing import layout, lock, manifest, observe
from edge.installing.carry_out import InstallError, carry_out, program, write_file
from edge.installing.items import Action, Command, Item, Step
from edge.installing.plan import NEW, plan, removal

RUNNING_SYSTEM = Path("/")
# sd_booted(3).
_SYSTEMD_RUNS = Path("/run/systemd/system")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks for. `program`: the `goldline` that the units start."""

    root: Path = RUNNING_SYSTEM
    program: Path
    station_id: str
    # None: the one of the installation that is there.
    user: str | None = None
    is_started: bool = True


class Installation:
    """`steps` is the plan, from what the device has now."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._manifest_file = observe.place(options.root, manifest.PATH)
        self.before = manifest.load(self._manifest_file)
        self._user = options.user or (self.before.user if self.before else layout.USER)
        target = layout.Target(
            program=str(options.program),
            python=sys.executable,
            share=str(shipped.folder()),
            station_id=options.station_id,
            user=self._user,
        )
        items = layout.layout(target, shipped.read)
        self.steps = plan(items, self._look(items), self.before, due=self._due(), skipped=self._skipped())

    @property
    def is_done(self) -> bool:
        """Nothing is to be done."""
        return not any(step.is_work for step in self.steps)

    def carry_out(self, tell: Callable[[Step, str], None]) -> list[str]:
        """Do it. Returns what was not done and is not needed. Raises InstallError."""
        items = [step.item for step in self.steps if step.action is not Action.REMOVE]
        pending = self._commands(Action.SKIP)
        due = [*self._commands(Action.RUN), *pending]
        under_way = manifest.begun(self.before, items, due, program=str(self._options.program))
        self._write(under_way)
        notes = carry_out(self.steps, self._options.root, tell)
        self._write(manifest.ended(under_way, items, version=__version__, user=self._user, pending=pending))
        return notes

    def _commands(self, action: Action) -> list[str]:
        """Names of commands with which this is to be done. Who is started needs no restart."""
        steps = [step for step in self.steps if step.action is action]
        names = [step.item.name for step in steps if isinstance(step.item, Command)]
        is_started = any(_is_due(step, layout.START) for step in self.steps)
        return [name for name in names if not (name == layout.RESTART and is_started)]

    def _write(self, content: manifest.Manifest) -> None:
        try:
            self._manifest_file.parent.mkdir(parents=True, exist_ok=True)
            write_file(self._manifest_file, manifest.encode(content), 0o644)
        except OSError as problem:
            raise InstallError(f"{self._manifest_file}: {problem.strerror}; run it again to go on") from None

    def _look(self, items: Iterable[Item]) -> dict[str, observe.Found]:
        placed = {item.path for item in items if not isinstance(item, Command)}
        known = {*self.before.files, *self.before.links} if self.before else set[str]()
        beside = {path + NEW for path in placed}
        try:
            return observe.look(self._options.root, placed | known | beside)
        except OSError as problem:
            raise GoldlineError(f"{problem.filename}: {problem.strerror}: as root, please") from None

    def _due(self) -> frozenset[str]:
        """Commands that are wanted by how the device is, whatever has changed."""
        root, first = self._options.root, self.before is None
        owner = observe.numbers(root, self._user)
        state = observe.place(root, layout.STATE)
        is_given = owner is not None and observe.foreign_owners(state, owner[0]) == 0
        wanted = {
            layout.MAKE_USER: owner is None,
            layout.OWN_STATE: state.is_dir() and not is_given and os.geteuid() == 0,
            layout.ENABLE: first,
            layout.START: first,
            layout.TEACH: _is_demo_untaught(root),
            layout.RESTART: self.before is not None and self.before.version != __version__,
        }
        return frozenset(name for name, is_wanted in wanted.items() if is_wanted)

    def _skipped(self) -> dict[str, str]:
        """Commands that cannot run here or are not to, and why."""
        why: dict[str, str] = {}
        if self.before is None or layout.START in self.before.pending:
            why[layout.RESTART] = "it is started anew"
        if not self._options.is_started:
            why |= dict.fromkeys((layout.START, layout.RESTART), "not to be started, as asked")
        if not (self._options.root == RUNNING_SYSTEM and _SYSTEMD_RUNS.is_dir()):
            why |= dict.fromkeys(layout.OF_SYSTEMD, "systemd does not run here")
        for name, needed in ((layout.MAKE_USER, "systemd-sysusers"), (layout.ENABLE, "systemctl")):
            if program(needed) is None or os.geteuid() != 0:
                why[name] = f"{needed} cannot run here"
        if self._options.root != RUNNING_SYSTEM:
            why[layout.TEACH] = "not in the running system: install there once more"
        return why


def default_program() -> Path:
    """The `goldline` of this environment. Raises GoldlineError where there is none: it was not installed by pip, or was moved."""
    found = Path(sysconfig.get_path("scripts")) / "goldline"
    if not found.exists():
        raise GoldlineError(
            f"{found}: no such program: install Goldline's wheel into this environment, or name --program"
        )
    with found.open("rb") as script:
        first = script.readline().decode(errors="replace").split()
    interpreter = Path(first[0][2:]) if first and first[0].startswith("#!/") else found
    if not interpreter.exists():
        raise GoldlineError(f"{found}: its {interpreter} is gone: an environment cannot be moved; make it anew there")
    return found


class Removal:
    """Taking it away: `steps` is the plan. Raises GoldlineError where nothing was installed."""

    def __init__(self, root: Path, *, is_purged: bool) -> None:
        self._root = root
        self._manifest_file = observe.place(root, manifest.PATH)
        before = manifest.load(self._manifest_file)
        if before is None:
            raise GoldlineError(f"{self._manifest_file}: no such file: nothing was installed here")
        self._before = before
        files = removal(before, observe.look(root, {*before.files, *before.links}))
        systemd = root == RUNNING_SYSTEM and _SYSTEMD_RUNS.is_dir()
        self.trees = _trees(root) if is_purged else []
        self.steps = [*_stopped(root, is_running=systemd), *files, *(_reloaded() if systemd else [])]

    def carry_out(self, tell: Callable[[Step, str], None]) -> list[str]:
        """Do it; folders that are empty then go, too. Raises InstallError."""
        notes = carry_out(self.steps, self._root, tell)
        try:
            self._clear()
        except OSError as problem:
            where = problem.filename or self._manifest_file
            raise InstallError(f"{where}: {problem.strerror}; run it again to go on") from None
        return notes

    def _clear(self) -> None:
        for tree in self.trees:
            _empty(tree)
            _remove_empty(tree)
        for path in sorted(self._before.directories, reverse=True):
            _remove_empty(observe.place(self._root, path))
        self._manifest_file.unlink()
        observe.place(self._root, lock.PATH).unlink(missing_ok=True)
        _remove_empty(self._manifest_file.parent)


def _stopped(root: Path, *, is_running: bool) -> list[Step]:
    """Every service of ours, stations first; each alone, so that one that is not there holds up no other."""
    if program("systemctl") is None:
        return []
    units = (layout.SERVICE, *(f"goldline@{name}.service" for name in _instances(root)), *layout.NATS_SERVICES)
    stop = [("stop", layout.STATIONS[1]), *(("stop", unit) for unit in units)] if is_running else []
    commands = [*stop, *(("disable", unit) for unit in units)]
    return [
        Step(action=Action.RUN, item=Command(name=words[0], words=("systemctl", *words), is_needed=False))
        for words in commands
    ]


def _reloaded() -> list[Step]:
    commands = (("systemctl", "daemon-reload"), ("udevadm", "control", "--reload"))
    return [Step(action=Action.RUN, item=Command(name=words[1], words=words, is_needed=False)) for words in commands]


def _instances(root: Path) -> list[str]:
    """Names of the stations beside the first."""
    return sorted(file.parent.name for file in observe.place(root, "/etc/goldline").glob("*/config.toml"))


def _trees(root: Path) -> list[Path]:
    """Configuration and state of every station of the device, and of its server in a fleet. A plant's hub stays."""
    names = ["", "-nats", *(f"-{name}" for name in _instances(root))]
    # Which stations there are is known by the configuration: it goes last.
    paths = [*(layout.STATE + name for name in names), "/etc/goldline-nats", "/etc/goldline"]
    trees = [observe.place(root, path) for path in paths]
    return [tree for tree in trees if tree.is_dir() and not tree.is_symlink()]


def _empty(folder: Path) -> None:
    for name in folder.iterdir():
        if name.is_dir() and not name.is_symlink():
            shutil.rmtree(name)
        else:
            name.unlink()


def _remove_empty(folder: Path) -> None:
    """A disk of its own that is mounted there stays."""
    if folder.is_dir() and not folder.is_symlink() and not folder.is_mount() and not any(folder.iterdir()):
        folder.rmdir()


def _is_demo_untaught(root: Path) -> bool:
    """Whether the station is still the demo's, or will be, and has no reference set."""
    if observe.place(root, f"{layout.STATE}/references/{layout.DEMO}/active").is_symlink():
        return False
    try:
        text = observe.place(root, layout.CONFIG).read_text()
        return tomllib.loads(text).get("product") == layout.DEMO
    except FileNotFoundError:
        return True
    except (OSError, tomllib.TOMLDecodeError):
        return False


def _is_due(step: Step, command: str) -> bool:
    return isinstance(step.item, Command) and step.item.name == command and step.action is not Action.UNCHANGED
