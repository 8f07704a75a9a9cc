"""The part of an evaluation's page that shows what was called wrong: each image, what deviates, and the closest good one."""

from collections.abc import Collection, Sequence
from xml.etree.ElementTree import Element

from edge import report_tables
from edge.evaluate import Judged
from edge.exhibits import Exhibit, Shown
from edge.markup import Child, tag
from edge.records import CheckScore
from edge.report_tables import noun, score
from edge.summary import Figures


def mistakes(told: Figures, false_calls: Shown, escapes: Shown) -> Child:
    """False calls and escapes, the worst first, and how to read their pictures."""
    one = noun(told)[:-1]
    return [
        tag("h2", "False calls"),
        _legend(),
        _shown(false_calls, told.false_calls, told.errors, f"No good {one} was rejected. These came closest."),
        tag("h2", "Escapes"),
        _shown(escapes, told.escapes, told.errors, f"No bad {one} was called PASS. These came closest."),
    ]


def not_judged(told: Figures) -> Child:
    """What could not be judged, and why."""
    if not told.errors:
        return None
    rows = [[report_tables.words(name), report_tables.words(why)] for name, why in told.errors.items()]
    return [tag("h2", "Not judged"), report_tables.table([noun(told)[:-1], "why"], rows, "text")]


def _shown(shown: Shown, names: Sequence[str], errors: Collection[str], closest: str) -> Child:
    every = [tag("p", "All, worst first:"), tag("ul", [tag("li", one) for one in names], class_="names")]
    is_all = shown.wrong and len(names) == len(shown.exhibits)
    return [
        tag("p", _how_many(shown, names, errors) or closest),
        [_exhibit(one) for one in shown.exhibits],
        every if names and not is_all else None,
    ]


def _how_many(shown: Shown, names: Sequence[str], errors: Collection[str]) -> str:
    """Of the wrong ones, how many are shown; those that were not judged have nothing to show."""
    unjudged = sum(name in errors for name in names)
    without = f" {unjudged} without a verdict: see Not judged." if unjudged else ""
    judged = len(names) - unjudged
    if not judged:
        return f"{without.strip()} None with one. These came closest." if without else ""
    if judged > len(shown.exhibits):
        return f"The worst {len(shown.exhibits)} of {judged}.{without}"
    return (f"All {judged}, worst first." if judged > 1 else "This one.") + without


def _exhibit(one: Exhibit) -> Element:
    panels = (
        ("inspected", one.inspected),
        ("deviation", one.deviation),
        (f"closest good: {one.reference_name}", one.reference),
    )
    judged = one.judged
    return tag(
        "div",
        tag("h3", f"{judged.sample.name}: {_called(judged)}"),
        [tag("p", line, class_="quiet") for line in _lines(one)],
        tag("div", [_panel(words, picture) for words, picture in panels], class_="panels"),
        class_="exhibit",
    )


def _lines(one: Exhibit) -> list[str]:
    """What was ordered, which view is shown, and which checks say what."""
    asked = ", ".join(f"{key} = {value}" for key, value in one.judged.sample.expect.items())
    views = "; ".join(f"{role} {_called(view)}" for role, view in one.judged.views.items())
    return [
        *([f"Ordered: {asked}."] if asked else []),
        *([f"Views: {views}. Shown: {one.role}."] if views else []),
        *([f"{_checks(one.seen)}."] if one.seen.verdict.checks else []),
    ]


def _called(judged: Judged) -> str:
    limits = judged.verdict.limits
    # The limits of a part are those of each view.
    between = "" if limits is None or judged.views else f" (review {limits.review:.2f}, fail {limits.fail:.2f})"
    return f"{judged.call.value}, score {score(judged.score)}{between}"


def _checks(seen: Judged) -> str:
    """The checks that reached their review limits; where none did, all of them."""
    checks = seen.verdict.checks
    reached = {name: check for name, check in checks.items() if check.score >= check.limits.review}
    if reached:
        return "Rejected by " + "; ".join(f"{name}: {_against_limits(check)}" for name, check in reached.items())
    return "No check reached its review limit: " + "; ".join(
        f"{name} {_against_limits(checks[name])}" for name in checks
    )


def _against_limits(check: CheckScore) -> str:
    expected = "" if check.expected is None else f", expected {check.expected}"
    found = "" if check.found is None else f", found {check.found}{expected}"
    return f"{check.score:.3g}{found} (its limits {check.limits.review:.3g} and {check.limits.fail:.3g})"


def _panel(words: str, picture: str | None) -> Element:
    seen = None if picture is None else tag("img", src=picture, alt=words)
    return tag("figure", seen, tag("figcaption", words))


def _legend() -> Child:
    yellow, red = (tag("span", "", class_=f"scale {colour}") for colour in ("yellow", "red"))
    return tag(
        "p",
        *(
            "Deviation is painted from half the review limit on: ",
            yellow,
            " the review limit, ",
            red,
            " the fail limit ",
        ),
        "and beyond. Red frames: what was called a deviation. Cyan outlines: what the ground truth says. Scores and limits of "
        "an image are in spreads of good ones, those of a check in its own unit.",
        class_="quiet",
    )
