"""The tables of an evaluation's page: calls at the limits, defect classes, two sets beside each other, stages."""

import math
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from edge.evaluate import STAGES, Call
from edge.figures import Interval, rate_interval
from edge.labelled import GOOD
from edge.markup import Child, tag
from edge.summary import Against, Changed, Figures

# What each stage does, by its name.
STAGE_WORDS = {
    "prepare": "prepare: gate, register, cut the regions out",
    "graph": "graph: features, memory bank, variation model",
    "judge": "judge: decide, say where",
}
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


def calls(told: Figures) -> Element:
    """How often each class got which verdict; what is wrong is marked."""
    rows = [
        [name(label), number(str(sum(counts.values()))), *(_call(label, Call(call), counts[call]) for call in counts)]
        for label, counts in told.calls.items()
    ]
    return table(["", "images", *(call.value for call in Call)], rows)


def _call(label: str, call: Call, count: int) -> Element:
    is_wrong = count > 0 and (call is Call.PASS) is not (label == GOOD)
    return tag("td", str(count) if count else "·", class_="wrong" if is_wrong else "right")


def classes(told: Figures) -> Element:
    """What of each defect class is found."""
    rows = [_class(told, label) for label in told.per_class]
    return table(["defect", "AUROC", "found", "escapes", "median score"], rows)


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
    pairs = zip(_compared(told), _compared(other), strict=True)
    return table(["", "this set", "against"], [[name(what), mine, theirs] for (what, mine), (_, theirs) in pairs])


def _compared(told: Figures) -> list[tuple[str, Element]]:
    return [
        ("reference set", number(tag("code", told.reference_set))),
        ("AUROC", number(f"{told.auroc:.4f}", tag("small", area_interval(told.auroc_interval)))),
        ("false calls", _rate(len(told.false_calls), told.n_good, told.false_call_interval)),
        ("escapes", _rate(len(told.escapes), told.n_bad, told.escape_interval)),
        ("ERROR", number(str(len(told.errors)))),
        ("pixel AUROC", number("no masks" if told.pixel_auroc is None else f"{told.pixel_auroc:.4f}")),
        ("AU-PRO", number("no masks" if told.au_pro is None else f"{told.au_pro:.4f}")),
        ("frame to verdict, p50", number(ms(told.latency_ms["p50"]))),
        ("limits, review and fail", number(f"{told.limits.review:.2f} and {told.limits.fail:.2f}")),
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
