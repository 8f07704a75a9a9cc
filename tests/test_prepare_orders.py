"""Another product by order, asked of a real publish: in force with the answer, or refused, whoever dies meanwhile."""

from collections.abc import Callable

import pytest

from edge.messages import Prepare
from tests import values
from tests.order_line import Asking, order, prepared, state
from tests.publish_line import Line, verdicts_of


@pytest.fixture
def line(make_line: Callable[..., Line]) -> Line:
    made = make_line(product="trunk")
    made.start()
    made.link("inspection")
    return made


def test_a_product_is_in_force_with_the_answer(line: Line) -> None:
    asking = Asking(line, "prepare", product="lid", variant="oak", id=3)
    asked = line.hear("inspection")
    assert asked == Prepare(product="lid", generation=2, variant="oak")
    assert state(line)["job"]["product"] == "part"
    assert "is being prepared" in order(line, "prepare", product="other")["error"]
    prepared(line, asked)
    answer = asking.wait()
    assert (answer["accepted"], answer["id"], answer["state"]) == (True, 3, "ContinuousExecution")
    job = answer["job"]
    assert (job["product"], job["variant"], job["configuration"]) == ("lid", "oak", 2)
    assert job["reference_set"] == values.PROVENANCE.reference_set
    line.capture("right")
    order(line, "trigger", camera="right")
    order(line, "trigger", camera="right", expect={"variant": "ash"})
    fired = [line.hear("capture@right") for _ in range(2)]
    assert [one.trigger.expect for one in fired] == [{"variant": "oak"}, {"variant": "ash"}]


def test_what_cannot_be_prepared_is_refused_in_one_line_and_changes_nothing(line: Line) -> None:
    before = state(line)["job"]
    asking = Asking(line, "prepare", product="lid")
    prepared(line, line.hear("inspection"), "product lid: no recipe")
    assert asking.wait() == {"accepted": False, "error": "product lid: no recipe", "id": None}
    assert state(line)["job"] == before


def test_the_death_of_inspection_refuses_what_it_was_preparing(line: Line) -> None:
    asking = Asking(line, "prepare", product="lid")
    line.hear("inspection")
    line.unlink("inspection")
    assert "inspection died" in asking.wait()["error"]
    assert "starting" in order(line, "prepare", product="lid")["error"]
    line.link("inspection")
    line.wait_until(lambda: not state(line)["alarms"], "inspection is back")
    assert state(line)["job"]["product"] == "part"


def test_an_inspection_that_judges_by_an_older_product_is_told_again(line: Line) -> None:
    asking = Asking(line, "prepare", product="lid")
    prepared(line, line.hear("inspection"))
    assert asking.wait()["accepted"]
    # It had read which product to load before this one was ordered.
    line.link("inspection")
    assert line.hear("inspection") == Prepare(product="lid", generation=2)


def test_what_an_older_product_judged_after_the_answer_is_no_verdict(line: Line) -> None:
    line.capture("right")
    asking = Asking(line, "prepare", product="lid")
    prepared(line, line.hear("inspection"))
    assert asking.wait()["accepted"]
    # It died with the product it had just begun with; its successor had read which to load before.
    line.link("inspection")
    line.hear("inspection")
    trigger_id = order(line, "trigger", camera="right")["trigger_id"]
    line.judge(trigger_id, "right")
    (event,) = line.subscriber.wait(1)
    assert (event.data.verdict, event.data.reason) == ("ERROR", "cannot_judge")
    # Neither does a successor of publish take it.
    line.kill()
    line.start()
    line.link("inspection")
    line.capture("right")
    trigger_id = order(line, "trigger", camera="right")["trigger_id"]
    line.judge(trigger_id, "right")
    assert verdicts_of(line.subscriber.wait(2))[trigger_id] == ("ERROR", "cannot_judge")


def test_a_product_that_was_prepared_over_the_death_of_publish_has_its_variant(line: Line) -> None:
    asking = Asking(line, "prepare", within_s=2.0, product="lid", variant="oak")
    asked = line.hear("inspection")
    line.kill()
    asking.wait()
    line.start()
    line.link("inspection")
    prepared(line, asked)
    line.wait_until(lambda: state(line)["job"]["product"] == "lid", "taken up")
    assert state(line)["job"]["variant"] == "oak"


def test_the_product_in_force_outlives_publish_and_a_switch_without_it_is_taken_up(line: Line) -> None:
    asking = Asking(line, "prepare", within_s=2.0, product="lid")
    asked = line.hear("inspection")
    line.kill()
    asking.wait()
    line.start()
    # Inspection finished meanwhile, and says so to the new publish.
    line.link("inspection")
    prepared(line, asked)
    line.wait_until(lambda: state(line)["job"]["product"] == "lid", "taken up")
    line.kill()
    line.start()
    assert state(line)["job"]["product"] == "lid"


def test_another_product_in_the_configuration_goes_before_what_was_prepared(
    line: Line, make_line: Callable[..., Line]
) -> None:
    asking = Asking(line, "prepare", product="lid")
    prepared(line, line.hear("inspection"))
    asking.wait()
    line.kill()
    other = make_line(product="box")
    other.start()
    job = state(other)["job"]
    assert (job["product"], job["configuration"]) == ("box", 3)
