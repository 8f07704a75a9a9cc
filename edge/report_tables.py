"""The tables of an evaluation's page: calls at the limits, defect classes, two sets beside each other, stages."""

import json
import math
from collections.abc import Sequence
from typing import cast
from xml.etree.ElementTree import Element

from edge.evaluate import STAGES, Call
from edge.figures import Interval, rate_interval
from edge.labelled import GOOD
from edge.markup import Child, tag
from edge.summary import Against, Changed, Figures, operating

# What each stage does, by its name.
STAGE_WORDS = {
    "prepare": "prepare: gate, register, cut the regions out",
    "graph": "graph: features, memory bank, variation model",
    "judge": "judge: decide, say where",
}
# Why the promise of a part is a sum, and what a view's own figures mean.
UNION_BOUND = (
    "A part is a false call where any view is: the rate promised for parts is the sum of what the views promise, a union "
    "bound, which holds however the views' mistakes go together. By view, every picture of a bad part counts as bad, also "
    "where its defect is not to be seen in that view: an escape there is none of the part as long as another view finds it."
)
# What a change of verdict means for the line, the worst first.
MEANINGS = ("new escape", "new false call", "escape gone", "false call gone", "rejected by both")


def table(head: Sequence[str], rows: Sequence[Sequence[Element]], kind: str = "figures") -> Element:
    """A table of `figures` or `text`; wider than the page, it scrolls by itself."""
    header = tag("tr", [tag("th", name, scope="col") for name in head])
    body = [tag("tr", row) for row in rows]
    return tag("div", tag("table", tag("thead", header), tag("tbody", body), class_=kind), class_="wide")


def name(*children: Child) -> Element:
    """What a row is about."""
    return tag("th", *children, scope="row")


def number(*children: Child) -> Element:
    """A cell with a figure."""
    return tag("td", *children)


def words(*children: Child) -> Element:
    """A cell with text."""
    return tag("td", *children, class_="text")


def share_interval(ends: Interval) -> str:
    """An interval of a rate in words."""
    return f"95%: {ends[0] * 100:.1f} to {ends[1]:.1%}"


def area_interval(ends: Interval) -> str:
    """An interval of an AUROC in words."""
    return f"95%: {ends[0]:.3f} to {ends[1]:.3f}"


def ms(value: float | None) -> str:
    """Milliseconds in words."""
    return "not measured" if value is None else f"{value:.1f} ms"


def score(value: float) -> str:
    """A score, or that there is none."""
    return f"{value:.2f}" if math.isfinite(value) else "none"


def noun(told: Figures) -> str:
    """What was judged: images, or parts of several views."""
    return "parts" if told.views else "images"


def value(something: object) -> str:
    """A value of a recipe as it is written there, about; a table in one line."""
    if isinstance(something, dict):
        keys = cast("dict[str, object]", something)
        return ", ".join(f"{key} {value(one)}" for key, one in keys.items() if one is not None) or "on"
    return "none" if something is None else json.dumps(something)


def limits(told: Figures) -> str:
    """The limits in words, of each view where there are several."""
    if told.limits is not None:
        return f"review {told.limits.review:.2f}, fail {told.limits.fail:.2f}"
    return "; ".join(f"{role}: {limits(view)}" for role, view in told.views.items())


def calls(told: Figures) -> Element:
    """How often each class got which verdict; what is wrong is marked."""
    rows = [
        [name(label), number(str(sum(counts.values()))), *(_call(label, Call(call), counts[call]) for call in counts)]
        for label, counts in told.calls.items()
    ]
    return table(["", noun(told), *(call.value for call in Call)], rows)


def _call(label: str, call: Call, count: int) -> Element:
    is_wrong = count > 0 and (call is Call.PASS) is not (label == GOOD)
    return tag("td", str(count) if count else "·", class_="wrong" if is_wrong else "right")


def classes(told: Figures) -> Element:
    """What of each defect class is found."""
    rows = [_class(told, label) for label in told.per_class]
    return table(["defect", "AUROC", "found", "escapes", "median score"], rows)


def at_limits(told: Figures) -> Element:
    """What the line suffers when REVIEW is rejected, and when it is let through."""
    names = ("REVIEW and FAIL rejected", "FAIL alone rejected")
    rows: list[list[Element]] = []
    for what, (_, rejected, found) in zip(names, operating(told), strict=True):
        false_calls, missed = round(rejected * told.n_good), round((1 - found) * told.n_bad)
        rows.append(
            [
                name(what),
                _rate(false_calls, told.n_good, rate_interval(false_calls, told.n_good)),
                _rate(missed, told.n_bad, rate_interval(missed, told.n_bad)),
            ]
        )
    return table(["", "false calls", "escapes"], rows)


def by_view(told: Figures) -> Element:
    """The whole part's figures beside those of each camera role."""
    return _columns(["whole part", *told.views], [told, *told.views.values()], without=("reference set", "method"))


def taught_differently(told: Figures, other: Against) -> Child:
    """Checks that one set has and the other has not, and by which keys of the recipe they were taught differently."""
    if not other.differences:
        return tag("p", "Both were taught by the same recipe.")
    rows = [[name(one.key), words(value(one.this)), words(value(one.against))] for one in other.differences]
    own = ", ".join(check for check in told.checks if check not in other.checks)
    others = ", ".join(check for check in other.checks if check not in told.checks)
    return [
        tag(
            "p",
            "They were taught by different recipes; each is judged by its own, with the limits that are in force now.",
        ),
        tag("p", f"Checks of this set alone: {own or 'none'}; of the other alone: {others or 'none'}."),
        table(["recipe", "this set", "against"], rows, "text"),
    ]


def _class(told: Figures, label: str) -> list[Element]:
    counts = told.calls[label]
    n, missed = sum(counts.values()), counts[Call.PASS.value]
    return [
        name(label),
        number(f"{told.per_class[label]:.4f}"),
        number(f"{n - missed} of {n}"),
        number(f"{missed / n:.1%}", tag("small", share_interval(rate_interval(missed, n)))),
        number(score(told.median_score[label])),
    ]


def stages(told: Figures) -> Element:
    """How long each stage took, and which share of the median that is."""
    medians = {stage: told.stages_ms[stage]["p50"] or 0.0 for stage in STAGES}
    total = sum(medians.values()) or 1.0
    rows = [_stage(STAGE_WORDS[stage], told.stages_ms[stage], medians[stage] / total) for stage in STAGES]
    return table(["stage", "p50", "p99", "share"], [*rows, _stage("frame to verdict", told.latency_ms, 0.0)])


def _stage(what: str, spent: dict[str, float | None], share: float) -> list[Element]:
    bar = tag("span", "", class_="bar", style=f"width:{share:.1%}") if share else None
    return [name(what), number(ms(spent["p50"])), number(ms(spent["p99"])), tag("td", bar, class_="share")]


def beside(told: Figures, other: Figures) -> Element:
    """The figures of two sets in two columns."""
    return _columns(["this set", "against"], [told, other])


def _columns(heads: Sequence[str], sides: Sequence[Figures], without: Sequence[str] = ()) -> Element:
    rows = zip(*map(_compared, sides), strict=True)
    cells = [[name(row[0][0]), *(cell for _, cell in row)] for row in rows if row[0][0] not in without]
    return table(["", *heads], cells)


def _compared(told: Figures) -> list[tuple[str, Element]]:
    promised = told.promised_false_call_rate
    return [
        ("reference set", number(tag("code", told.reference_set))),
        ("AUROC", number(f"{told.auroc:.4f}", tag("small", area_interval(told.auroc_interval)))),
        ("false calls", _rate(len(told.false_calls), told.n_good, told.false_call_interval)),
        ("promised, at most", number("none" if promised is None else f"{promised:.1%}")),
        ("escapes", _rate(len(told.escapes), told.n_bad, told.escape_interval)),
        ("ERROR", number(str(len(told.errors)))),
        ("pixel AUROC", number("·" if told.pixel_auroc is None else f"{told.pixel_auroc:.4f}")),
        ("AU-PRO", number("·" if told.au_pro is None else f"{told.au_pro:.4f}")),
        ("frame to verdict, p50", number(ms(told.latency_ms["p50"]))),
        ("limits", number("by view" if told.views else limits(told))),
        ("checks", number(", ".join(told.checks))),
        ("method", number(told.method)),
    ]


def _rate(count: int, n: int, ends: Interval) -> Element:
    return number(f"{count} of {n}", tag("small", share_interval(ends)))


def difference(other: Against) -> str:
    """What sets two AUROCs apart, in words."""
    ends = other.auroc_difference_interval
    said = f"This set's AUROC less the other's: {other.auroc_difference:+.4f}"
    if ends is None:
        return f"{said}; how sure that is, these images cannot tell."
    verdict = "more than chance explains" if ends[0] > 0 or ends[1] < 0 else "no more than chance explains"
    return f"{said} (95%: {ends[0]:+.4f} to {ends[1]:+.4f}), {verdict}."


def changes(changed: Sequence[Changed]) -> Child:
    """Every image of which two sets make different calls: what the line would suffer from first."""
    if not changed:
        return tag("p", "No image's verdict changed.")
    ordered = sorted(changed, key=lambda one: MEANINGS.index(meaning(one)))
    meanings = [meaning(one) for one in ordered]
    counted = ", ".join(f"{meanings.count(what)} x {what}" for what in dict.fromkeys(meanings))
    rows = [
        [
            words(one.image, tag("small", what)),
            words(f"{one.old} → {one.new}", tag("small", f"{score(one.old_score)} → {score(one.new_score)}")),
        ]
        for one, what in zip(ordered, meanings, strict=True)
    ]
    return [tag("p", f"{counted}."), table(["image", "against → this set"], rows, "text")]


def meaning(one: Changed) -> str:
    """Which of MEANINGS a change of verdict has."""
    passed, passes = one.old == Call.PASS.value, one.new == Call.PASS.value
    if passed is passes:
        return "rejected by both"
    if one.label == GOOD:
        return "false call gone" if passes else "new false call"
    return "new escape" if passes else "escape gone"
