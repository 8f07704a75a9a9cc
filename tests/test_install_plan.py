"""What `goldline install` plans: idempotent, gone on with after a cut, and never against what a person changed."""

from hypothesis import given
from hypothesis import strategies as st

from edge.installing import manifest
from edge.installing.items import Action, Command, Directory, File, Found, Item, Keep, Link, Step
from edge.installing.manifest import Manifest
from edge.installing.plan import plan, removal


def apply(steps: list[Step], device: dict[str, Found]) -> dict[str, Found]:
    """What the device has when the steps are carried out."""
    after = dict(device)
    for step in steps:
        item = step.item
        if not step.is_work or isinstance(item, Command):
            continue
        if step.action is Action.REMOVE:
            del after[item.path]
        elif isinstance(item, File):
            after[item.path] = Found(kind="file", says=item.sha256, mode=item.mode, owner=item.owner)
        elif isinstance(item, Link):
            after[item.path] = Found(kind="link", says=item.target)
        else:
            after[item.path] = Found(kind="directory", mode=item.mode, owner=item.owner)
    return after


def remembered(steps: list[Step], before: Manifest | None) -> Manifest:
    """The manifest when the steps are carried out."""
    items = [step.item for step in steps if step.action is not Action.REMOVE]
    under_way = manifest.begun(before, items, [], program="p")
    return manifest.ended(under_way, items, version="1", user="u", pending=[])


PATHS = st.sampled_from(["/a", "/b", "/c/d"])
CONTENTS = st.binary(max_size=1)
FILES = st.builds(lambda p, c, k: File(path=p, content=c, owner="root", keep=k), PATHS, CONTENTS, st.sampled_from(Keep))
LINKS = st.builds(lambda p, t: Link(path=p, target=t), st.sampled_from(["/l", "/m"]), st.sampled_from(["/x", "/y"]))
FOLDERS = st.builds(lambda p: Directory(path=p, owner="root"), st.sampled_from(["/c", "/e"]))
RELEASES = st.lists(
    st.lists(st.one_of(FILES, LINKS, FOLDERS), max_size=6, unique_by=lambda item: item.path), min_size=1, max_size=4
)
# What a person does between two installations: writes a file, or removes one.
PERSON = st.dictionaries(PATHS, st.sampled_from(["theirs", "theirs too", None]), max_size=2)


@given(releases=RELEASES, people=st.lists(PERSON, min_size=4, max_size=4))
def test_a_second_run_changes_nothing_and_what_a_person_wrote_is_never_lost(
    releases: list[list[Item]], people: list[dict[str, str | None]]
) -> None:
    device: dict[str, Found] = {}
    before: Manifest | None = None
    theirs: dict[str, str] = {}
    for items, person in zip(releases, people, strict=False):
        for path, says in person.items():
            theirs.pop(path, None)
            device.pop(path, None)
            if says is not None:
                device[path] = Found(kind="file", says=says)
                theirs[path] = says
        steps = plan(items, device, before)
        device, before = apply(steps, device), remembered(steps, before)
        assert not any(step.is_work for step in plan(items, device, before))
        assert all(device[path].says == says for path, says in theirs.items())
    assert before is not None
    device = apply(removal(before, device), device)
    assert all(device[path].says == says for path, says in theirs.items())
    # Of ours nothing is left but what is theirs to go on from.
    left = {path for path, there in device.items() if there.kind != "directory"}
    assert left <= {*theirs, *before.yours}


@given(steps=st.integers(0, 6), items=st.lists(FILES, min_size=1, max_size=5, unique_by=lambda item: item.path))
def test_an_installation_that_was_cut_off_is_gone_on_with(steps: int, items: list[Item]) -> None:
    first = plan(items, {}, None)
    under_way = manifest.begun(None, [step.item for step in first], [], program="p")
    device = apply(first[:steps], {})
    again = plan(items, device, under_way)
    assert {step.action for step in again} <= {Action.CREATE, Action.UNCHANGED}
    assert set(apply(again, device)) == {item.path for item in items if isinstance(item, File)}


def test_a_unit_that_was_edited_stays_and_ours_is_put_beside_it() -> None:
    unit = File(path="/u", content=b"new", owner="root")
    kept, beside = plan([unit], {"/u": Found(kind="file", says="edited")}, Manifest(files={"/u": ["old"]}))
    assert kept.action is Action.KEEP and "changed by you" in kept.note
    assert beside.action is Action.CREATE and beside.name == "/u.new"
    assert [
        s.action for s in plan([unit], {"/u": Found(kind="file", says="old")}, Manifest(files={"/u": ["old"]}))
    ] == [Action.UPDATE]
    # `systemctl mask` makes it a link.
    masked = plan([unit], {"/u": Found(kind="link", says="/dev/null")}, Manifest(files={"/u": ["old"]}))
    assert masked[0].action is Action.KEEP


def test_a_command_runs_when_what_it_is_about_changed_or_it_did_not_run_before() -> None:
    unit = File(path="/u", content=b"new", owner="root")
    command = Command(name="reload", words=("reload",), after=("/u",))
    there = {"/u": Found(kind="file", says=unit.sha256, mode=0o644, owner="root")}
    assert plan([unit, command], {}, None)[1].action is Action.RUN
    assert plan([unit, command], there, None)[1].action is Action.UNCHANGED
    assert plan([unit, command], there, Manifest(pending=["reload"]))[1].action is Action.RUN
    assert plan([command], there, None, due=frozenset({"reload"}), skipped={"reload": "no"})[0].action is Action.SKIP
