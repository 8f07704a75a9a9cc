"""The job's states: every order in every state has one defined answer, and nothing is taken where nothing runs."""

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import job, job_file
from edge.job import ALLOWED, Command, Job, Mode, Single, State
from edge.orders import OrderError

MODES = [*Mode]
FAULTS = (None, "the disk is full")


def a_job(mode: Mode, fault: str | None = None, *, is_warm: bool = True) -> Job:
    single = Single(name="left") if mode is Mode.SINGLE else None
    return Job(mode=mode, single=single, is_warm=is_warm, fault=fault)


jobs = st.builds(a_job, st.sampled_from(MODES), st.sampled_from(FAULTS), is_warm=st.booleans())
# What may happen to a station: an order, or something by itself.
happenings = st.one_of(
    st.sampled_from(list(Command)),
    st.sampled_from(["warm", "fault", "well", "opens left", "opens right", "closes left"]),
)


def after(one: Job, happening: Command | str) -> Job:
    """A refused order changes nothing."""
    if isinstance(happening, Command):
        try:
            return job.ordered(one, happening, autostart=True, name="left")
        except OrderError:
            return one
    if happening == "warm":
        return job.warm(one)
    if happening in ("fault", "well"):
        return job.with_fault(one, "the disk is full" if happening == "fault" else None)
    verb, name = happening.split()
    return job.taken(one, name) if verb == "opens" else job.answered(one, name)


@pytest.mark.parametrize(("mode", "fault", "is_warm"), list(product(MODES, FAULTS, (True, False))))
@pytest.mark.parametrize("command", list(Command))
def test_every_command_in_every_state_is_carried_out_or_refused_with_the_reason(command, mode, fault, is_warm):
    before = a_job(mode, fault, is_warm=is_warm)
    if before.state in ALLOWED[command]:
        job.ordered(before, command, autostart=False, name="left")
    else:
        with pytest.raises(OrderError, match=str(command)) as refusal:
            job.ordered(before, command, autostart=False, name="left")
        assert before.state.value in str(refusal.value)


@pytest.mark.parametrize(
    ("command", "leads_to"),
    [
        (
            Command.START,
            {State.READY: State.CONTINUOUS_EXECUTION, State.CONTINUOUS_EXECUTION: State.CONTINUOUS_EXECUTION},
        ),
        (Command.START_SINGLE, {State.READY: State.SINGLE_EXECUTION}),
        (Command.STOP, dict.fromkeys((State.READY, State.SINGLE_EXECUTION, State.CONTINUOUS_EXECUTION), State.READY)),
        (Command.HALT, dict.fromkeys(State, State.HALTED)),
        (Command.PREPARE, {one: one for one in (State.READY, State.CONTINUOUS_EXECUTION)}),
    ],
)
def test_commands_lead_where_they_should(command, leads_to):
    for mode in MODES:
        before = a_job(mode)
        if before.state in leads_to:
            assert job.ordered(before, command, autostart=False, name="left").state is leads_to[before.state]


@pytest.mark.parametrize("content", [b"", b'{"boot":"\xff"}', b"[" * 100_000, b'{"boot":1}'])
def test_a_file_of_the_job_that_cannot_be_read_counts_as_none(tmp_path, content):
    (tmp_path / "job.json").write_bytes(content)
    assert job_file.read(tmp_path) is None


@pytest.mark.parametrize("autostart", [True, False])
def test_reset_is_as_after_a_start(autostart):
    for mode in MODES:
        reset = job.ordered(a_job(mode), Command.RESET, autostart=autostart)
        assert reset.state is (State.CONTINUOUS_EXECUTION if autostart else State.READY)


@given(jobs, st.lists(happenings, max_size=30))
def test_nothing_is_taken_where_nothing_runs_and_a_refusal_says_why(begun, happening):
    now = begun
    for one in happening:
        now = after(now, one)
        runs = now.state in (State.SINGLE_EXECUTION, State.CONTINUOUS_EXECUTION)
        assert runs or not (now.takes("left") or now.takes("right"))
        assert now.takes("left") or now.refusal("left")
        assert (now.single is not None) is (now.mode is Mode.SINGLE)
        assert now.state is not State.ERROR or now.refusal("left") == now.fault


@given(st.lists(happenings, max_size=40))
def test_a_single_execution_takes_one_trigger(happening):
    now, taken = job.ordered(a_job(Mode.IDLE), Command.START_SINGLE, autostart=True, name="left"), 0
    for one in happening:
        if isinstance(one, Command):
            continue
        taken += one == "opens left" and now.takes("left")
        # Nobody opens what is not taken.
        now = now if one.startswith("opens") and not now.takes(one.split()[1]) else after(now, one)
        assert not now.takes("right")
    assert taken <= 1
    assert (now.mode is Mode.SINGLE) or taken == 1


@given(jobs.filter(lambda one: one.fault is None), st.lists(st.sampled_from(["fault", "well"])))
def test_a_cause_that_goes_leads_back_to_where_it_was(begun, happening):
    now = begun
    for one in happening:
        now = after(now, one)
    assert job.with_fault(now, None) == begun


def test_a_halted_station_stays_so_whatever_comes_but_reset():
    now = a_job(Mode.HALTED)
    for one in [*(set(Command) - {Command.RESET}), "warm", "fault", "well", "opens left", "closes left"]:
        now = after(now, one)
        assert now.state is State.HALTED
    assert msgspec.structs.replace(now, mode=Mode.CONTINUOUS).takes("left")
