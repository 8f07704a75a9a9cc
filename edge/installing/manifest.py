"""What was laid out on this device, kept where only root writes: /usr/local/lib/goldline/manifest.json.

It is written before anything is laid out, with what is about to be, and again at the end: after a power cut in between,
every file is still known as ours, and every command that was not carried out is still pending.
"""

from pathlib import Path

import msgspec

from edge.errors import GoldlineError
from edge.installing.items import Command, Directory, File, Item, Keep, Link

# Not in the state directory: what removes files as root must not be written by the service's user.
PATH = "/usr/local/lib/goldline/manifest.json"
# Another one would be of a program that lays out otherwise.
FORMAT = 1


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`files`: every sha256 that we laid out at a path. `previous`: the program's environment before this one."""

    format: int = FORMAT
    version: str = ""
    environment: str = ""
    previous: str = ""
    user: str = "goldline"
    files: dict[str, list[str]] = {}
    yours: list[str] = []
    links: dict[str, list[str]] = {}
    directories: list[str] = []
    pending: list[str] = []


def load(path: Path) -> Manifest | None:
    """The one there, or None. Raises GoldlineError for one that cannot be read."""
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, OSError) as problem:
        raise GoldlineError(f"{path}: cannot be read, so nothing is known of what was installed: {problem}") from None
    if manifest.format != FORMAT:
        raise GoldlineError(f"{path}: is of another Goldline (format {manifest.format}): install with that one or newer")
    return manifest


def encode(manifest: Manifest) -> bytes:
    """As it is written: for people to read, too."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def begun(before: Manifest | None, items: list[Item], pending: list[str]) -> Manifest:
    """While items are laid out: what was there before and what comes are both ours."""
    old = before or Manifest()
    files = {path: list(hashes) for path, hashes in old.files.items()}
    links = {path: list(targets) for path, targets in old.links.items()}
    for item in items:
        if isinstance(item, File):
            files[item.path] = sorted({*files.get(item.path, []), item.sha256})
        if isinstance(item, Link):
            links[item.path] = sorted({*links.get(item.path, []), item.target})
    folders = {item.path for item in items if isinstance(item, Directory)}
    return msgspec.structs.replace(
        old,
        files=files,
        yours=sorted({*old.yours, *(file.path for file in items if isinstance(file, File) and file.keep is Keep.YOURS)}),
        links=links,
        directories=sorted({*old.directories, *folders}),
        pending=sorted({*old.pending, *pending}),
    )


def ended(under_way: Manifest, items: list[Item], *, version: str, environment: str, user: str) -> Manifest:
    """When all is done: what is not laid out any more is forgotten, and so are older contents of ours.

    A file of a person's keeps every content that we ever gave it: that is how a change of theirs is told.
    """
    kept = {item.path: item for item in items if isinstance(item, File)}
    before = under_way.environment
    return msgspec.structs.replace(
        under_way,
        version=version,
        environment=environment,
        previous=before if before not in ("", environment) else under_way.previous,
        user=user,
        files={
            path: hashes if path in under_way.yours else [kept[path].sha256]
            for path, hashes in under_way.files.items()
            if path in kept or path in under_way.yours
        },
        links={item.path: [item.target] for item in items if isinstance(item, Link)},
        pending=[],
    )


def pending(items: list[Item], names: list[str]) -> list[Command]:
    """Commands of these that were to be carried out before, and were not."""
    return [item for item in items if isinstance(item, Command) and item.name in names]
