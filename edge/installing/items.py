"""Values: what a device should have, what it has, and what is to be done about each."""

import enum
import hashlib
from dataclasses import dataclass


class Keep(enum.Enum):
    """Whose a file is once it is there."""

    OURS = "ours"  # a newer one takes its place, unless somebody changed it
    YOURS = "yours"  # a start that people go on from: never touched again


@dataclass(frozen=True, kw_only=True)
class File:
    """A file with this content. `path` is the device's own, whatever folder stands for its root."""

    path: str
    content: bytes
    owner: str
    mode: int = 0o644
    keep: Keep = Keep.OURS

    @property
    def sha256(self) -> str:
        """Of its content, as the manifest keeps it."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Directory:
    """A folder. One that is there already is left as it is."""

    path: str
    owner: str
    mode: int = 0o755


@dataclass(frozen=True, kw_only=True)
class Link:
    """A symbolic link to `target`."""

    path: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Command:
    """Something another program does, once any of `after` has changed, or where it was not done before.

    `is_needed`: what does not work without it ends the installation; else it is said, and the rest goes on.
    """

    name: str
    words: tuple[str, ...]
    after: tuple[str, ...] = ()
    is_needed: bool = True
    # Not as root but as this user.
    as_user: str = "root"


Placed = File | Directory | Link
Item = Placed | Command


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is at a path. `kind`: file, directory, link or other; `says`: a file's sha256, a link's target."""

    kind: str
    says: str = ""
    mode: int = 0
    owner: str = ""


class Action(enum.Enum):
    """What is to be done."""

    CREATE = "create"
    UPDATE = "update"
    UNCHANGED = "unchanged"
    KEEP = "keep"  # a person changed it
    REMOVE = "remove"
    RUN = "run"
    SKIP = "skip"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One item, what is to be done about it, and why where that is not obvious."""

    action: Action
    item: Item
    note: str = ""

    @property
    def is_work(self) -> bool:
        """Whether carrying it out changes the device."""
        return self.action in (Action.CREATE, Action.UPDATE, Action.REMOVE, Action.RUN)

    @property
    def name(self) -> str:
        """Its path, or the command's line."""
        return " ".join(self.item.words) if isinstance(self.item, Command) else self.item.path
