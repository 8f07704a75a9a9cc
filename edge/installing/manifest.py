"""What was laid out on this device, kept where only root writes: /usr/local/lib/goldline/manifest.json.

It is written before anything is laid out, with what is about to be, and again at the end: after a power cut in between,
every file is still known as ours, and every command that was not carried out is still pending.
"""

from pathlib import Path

import msgspec

from edge.errors import GoldlineError
from edge.installing.items import Directory, File, Item, Keep, Link

# Not in the state directory: what removes files as root must not be written by the service's user.
PATH = "/usr/local/lib/goldline/manifest.json"
# Another one would be of a program that lays out otherwise.
FORMAT = 1


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`files`: every sha256 that we laid out at a path. `previous`: the program that was installed before `program`."""

    format: int = FORMAT
    version: str = ""
    program: str = ""
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
        raise GoldlineError(
            f"{path}: is of another Goldline (format {manifest.format}): install with that one or newer"
        )
    return manifest


def encode(manifest: Manifest) -> bytes:
    """As it is written: for people to read, too."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def begun(before: Manifest | None, items: list[Item], pending: list[str], *, program: str) -> Manifest:
    """While items are laid out: what was there before and what comes are both ours.

    `program` is the device's from now on: the way back must be known when the new one does not come up.
    """
    old = before or Manifest()
    files = {path: list(hashes) for path, hashes in old.files.items()}
    links = {path: list(targets) for path, targets in old.links.items()}
    for item in items:
        # What is yours is given once: before it was given, nobody has removed it.
        if isinstance(item, File) and item.keep is Keep.OURS:
            files[item.path] = sorted({*files.get(item.path, []), item.sha256})
        if isinstance(item, Link):
            links[item.path] = sorted({*links.get(item.path, []), item.target})
    folders = {item.path for item in items if isinstance(item, Directory)}
    return msgspec.structs.replace(
        old,
        program=program,
        previous=old.program if old.program not in ("", program) else old.previous,
        files=files,
        links=links,
        directories=sorted({*old.directories, *folders}),
        pending=sorted({*old.pending, *pending}),
    )


def ended(under_way: Manifest, items: list[Item], *, version: str, user: str, pending: list[str]) -> Manifest:
    """When all is done but `pending`, commands that cannot run here: what is not laid out any more is forgotten.

    A path keeps every content that we ever gave it: whatever else is there is a person's.
    """
    given = [item for item in items if isinstance(item, File)]
    yours = sorted({*under_way.yours, *(file.path for file in given if file.keep is Keep.YOURS)})
    files = {path: set(hashes) for path, hashes in under_way.files.items()}
    for file in given:
        files.setdefault(file.path, set()).add(file.sha256)
    paths = {file.path for file in given} | set(yours)
    return msgspec.structs.replace(
        under_way,
        version=version,
        user=user,
        files={path: sorted(hashes) for path, hashes in files.items() if path in paths},
        yours=yours,
        links={item.path: under_way.links[item.path] for item in items if isinstance(item, Link)},
        pending=pending,
    )
