"""What is to be done on a device: pure, from what it should have, what it has, and what was laid out before.

there        as we laid it out     changed by a person          missing
OURS         update                keep; ours beside, as .new   create
YOURS        unchanged             keep                         create, once
"""

from collections.abc import Mapping, Sequence

from edge.installing.items import Action, Command, Directory, File, Found, Item, Keep, Link, Placed, Step
from edge.installing.manifest import Manifest

# Beside a file that a person changed: what we would have put there.
NEW = ".new"
CHANGED = "changed by you"


def plan(
    items: Sequence[Item],
    found: Mapping[str, Found],
    manifest: Manifest | None,
    *,
    due: frozenset[str] = frozenset(),
    skipped: Mapping[str, str] | None = None,
) -> list[Step]:
    """The steps, in the order of the items; what is laid out no more comes last.

    `due`: names of commands that are wanted whatever has changed. `skipped`: names of those that cannot run, and why.
    """
    before = manifest or Manifest()
    steps: list[Step] = []
    changed: set[str] = set()
    for item in items:
        if isinstance(item, Command):
            is_due = item.name in due or item.name in before.pending or bool(changed & set(item.after))
            steps.append(_command(item, is_due=is_due, why_not=(skipped or {}).get(item.name)))
        else:
            steps += _placed(item, found, before)
        changed |= {step.name for step in steps if step.is_work}
    return [*steps, *_stale(steps, found, before)]


def removal(manifest: Manifest, found: Mapping[str, Found]) -> list[Step]:
    """Everything that was laid out, as far as nobody changed it. What people go on from stays."""
    steps = [_removed_file(path, manifest, found) for path in sorted(manifest.files)]
    steps += [_removed_link(path, manifest, found) for path in sorted(manifest.links)]
    return [step for step in steps if step is not None]


def _command(item: Command, *, is_due: bool, why_not: str | None) -> Step:
    if not is_due:
        return Step(action=Action.UNCHANGED, item=item)
    if why_not is not None:
        return Step(action=Action.SKIP, item=item, note=why_not)
    return Step(action=Action.RUN, item=item)


def _placed(item: Placed, found: Mapping[str, Found], manifest: Manifest) -> list[Step]:
    there = found.get(item.path)
    if isinstance(item, File):
        return _file(item, there, found, manifest)
    return [_directory(item, there) if isinstance(item, Directory) else _link(item, there, manifest)]


def _file(item: File, there: Found | None, found: Mapping[str, Found], manifest: Manifest) -> list[Step]:
    ours = manifest.files.get(item.path, [])
    if there is None:
        if item.keep is Keep.YOURS and ours:
            return [Step(action=Action.KEEP, item=item, note="removed by you")]
        return [Step(action=Action.CREATE, item=item)]
    is_ours = there.kind == "file" and there.says in ours
    if there.kind == "file" and there.says == item.sha256:
        return [_same_content(item, there)]
    if item.keep is Keep.YOURS:
        return [Step(action=Action.UNCHANGED if is_ours else Action.KEEP, item=item, note="" if is_ours else CHANGED)]
    if is_ours:
        return [Step(action=Action.UPDATE, item=item)]
    beside = File(path=item.path + NEW, content=item.content, owner=item.owner, mode=item.mode)
    kept = Step(action=Action.KEEP, item=item, note=f"{CHANGED}; ours is {beside.path}")
    return [kept, _beside(beside, found.get(beside.path))]


def _same_content(item: File, there: Found) -> Step:
    """Who may read it is ours to say for our files alone."""
    is_so = item.keep is Keep.YOURS or (there.mode, there.owner) == (item.mode, item.owner)
    return Step(
        action=Action.UNCHANGED if is_so else Action.UPDATE,
        item=item,
        note="" if is_so else f"owner {item.owner}, mode {item.mode:04o}",
    )


def _beside(item: File, there: Found | None) -> Step:
    if there is None:
        return Step(action=Action.CREATE, item=item)
    return Step(action=Action.UNCHANGED if there.says == item.sha256 else Action.UPDATE, item=item)


def _directory(item: Directory, there: Found | None) -> Step:
    if there is None:
        return Step(action=Action.CREATE, item=item)
    is_one = there.kind == "directory"
    return Step(
        action=Action.UNCHANGED if is_one else Action.KEEP,
        item=item,
        note="" if is_one else "is not a folder of its own",
    )


def _link(item: Link, there: Found | None, manifest: Manifest) -> Step:
    if there is None:
        return Step(action=Action.CREATE, item=item, note=f"to {item.target}")
    if there.kind == "link" and there.says == item.target:
        return Step(action=Action.UNCHANGED, item=item)
    if there.kind == "link" and there.says in manifest.links.get(item.path, []):
        return Step(action=Action.UPDATE, item=item, note=f"to {item.target}")
    return Step(action=Action.KEEP, item=item, note="is not ours")


def _stale(steps: Sequence[Step], found: Mapping[str, Found], manifest: Manifest) -> list[Step]:
    """What was laid out before and is laid out no more."""
    wanted = {step.item.path for step in steps if not isinstance(step.item, Command)}
    files = (_removed_file(path, manifest, found) for path in sorted(manifest.files) if path not in wanted)
    links = (_removed_link(path, manifest, found) for path in sorted(manifest.links) if path not in wanted)
    return [step for step in (*files, *links) if step is not None]


def _removed_file(path: str, manifest: Manifest, found: Mapping[str, Found]) -> Step | None:
    there = found.get(path)
    if there is None:
        return None
    item = File(path=path, content=b"", owner="root")
    if path in manifest.yours:
        return Step(action=Action.KEEP, item=item, note="yours")
    is_ours = there.kind == "file" and there.says in manifest.files[path]
    return Step(action=Action.REMOVE if is_ours else Action.KEEP, item=item, note="" if is_ours else CHANGED)


def _removed_link(path: str, manifest: Manifest, found: Mapping[str, Found]) -> Step | None:
    there = found.get(path)
    if there is None:
        return None
    is_ours = there.kind == "link" and there.says in manifest.links[path]
    item = Link(path=path, target=there.says)
    return Step(action=Action.REMOVE if is_ours else Action.KEEP, item=item, note="" if is_ours else "is not ours")
