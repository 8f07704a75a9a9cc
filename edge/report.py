"""An evaluation as one page of HTML: figures and how sure they are, curves, what was called wrong, and where from.

The page is whole: style, charts and pictures are inside it, nothing is fetched and no script runs, so it can be
mailed, kept, and read in ten years.
"""

from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from edge import __version__, markup, report_charts, report_mistakes, report_tables
from edge.errors import GoldlineError
from edge.evaluate import Call, Evaluation
from edge.exhibits import Shown
from edge.figures import Interval, images_to_show, rate_interval
from edge.markup import Child, tag
from edge.records import Limits
from edge.report_charts import Operating
from edge.report_tables import UNION_BOUND, area_interval, ms, noun, share_interval
from edge.summary import Figures, Report, operating, scores_of

STYLE = Path(__file__).with_suffix(".css")
# A browser that obeys it fetches nothing and runs nothing, whatever the page holds.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
# The rate of mistakes that lines ask to stay below; what it takes to show it is said.
ASKED_RATE = 0.01
FOOTNOTE = (
    "Rates: Clopper and Pearson's exact interval. AUROC: Newcombe's interval (method 5). Difference of AUROC: DeLong, "
    "DeLong and Clarke-Pearson. AU-PRO: area under the per-region overlap up to 30% false positive pixels, every "
    "deviating place counting alike. Scores are in spreads of good images that teach compared with the others."
)


@dataclass(frozen=True)
class Content:
    """All that the page says. `data` is the folder that was judged, `date` when; both are text."""

    report: Report
    found: Evaluation
    other: Evaluation | None
    false_calls: Shown
    escapes: Shown
    data: str
    date: str


def write(path: Path, content: Content) -> None:
    """Write the page. Raises GoldlineError naming the file."""
    try:
        path.write_text(render(content), encoding="utf-8")
    except OSError as problem:
        raise GoldlineError(f"{path}: cannot be written: {problem.strerror}") from problem


def render(content: Content) -> str:
    """The whole page."""
    title = f"{content.found.source.product}: false calls and escapes"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", STYLE.read_text(encoding="utf-8")),
    )
    sections = (_headline, _views, _comparison, _charts, _tables, _changes, _mistakes, _errors, _latency, _provenance)
    body = tag("body", tag("h1", title), [section(content) for section in sections])
    return markup.page(tag("html", head, body, lang="en"))


def _headline(content: Content) -> Child:
    told = content.report
    what = (
        f"{told.n_good} good and {told.n_bad} bad {noun(told)} of {content.data}, judged by reference set "
        f"{told.reference_set} on {content.date}."
    )
    tiles = tag("div", [_tile(*words) for words in _tiles(told)], class_="tiles")
    return [tag("p", what, class_="quiet"), tiles, _what_n_shows(told)]


def _tiles(told: Figures) -> list[tuple[str, ...]]:
    good, bad, promised = f"of {told.n_good} good", f"of {told.n_bad} bad", told.promised_false_call_rate
    promise = "none promised" if promised is None else f"promised: at most {promised:.1%}"
    tiles = [
        ("AUROC", f"{told.auroc:.4f}", "good against bad", area_interval(told.auroc_interval)),
        (
            *_rate("False calls", told.false_call_rate, f"{len(told.false_calls)} {good}", told.false_call_interval),
            promise,
        ),
        _rate("Escapes", told.escape_rate, f"{len(told.escapes)} {bad}", told.escape_interval),
        ("ERROR", f"{told.error_rate:.1%}", f"{len(told.errors)} of all {told.n_good + told.n_bad}", "not judged"),
    ]
    if told.pixel_auroc is not None and told.au_pro is not None:
        tiles.append(("AU-PRO", f"{told.au_pro:.3f}", "where it deviates", f"pixel AUROC {told.pixel_auroc:.4f}"))
    p50, p99 = told.latency_ms["p50"], told.latency_ms["p99"]
    if p50 is not None:
        tiles.append(("Frame to verdict", ms(p50), "median", f"p99 {ms(p99)}"))
    return tiles


def _rate(name: str, rate: float, count: str, ends: Interval) -> tuple[str, ...]:
    return (name, f"{rate:.1%}", count, share_interval(ends))


def _tile(name: str, value: str, *notes: str) -> Element:
    return tag("div", name, tag("b", value), [tag("small", note) for note in notes], class_="tile")


def _what_n_shows(told: Figures) -> Child:
    good, bad = (f"{rate_interval(0, n)[1]:.1%}" for n in (told.n_good, told.n_bad))
    return tag(
        "p",
        "What these images can show: with 95% confidence the true rates lie in the intervals above, as far as the "
        f"images are like those of the line. {told.n_good} good {noun(told)} without one false call would show a rate of "
        f"at most {good}, {told.n_bad} bad ones without one escape at most {bad}; to show less than {ASKED_RATE:.0%} "
        f"takes {images_to_show(ASKED_RATE)} images without a mistake. An image that cannot be judged leaves the line: "
        "a good one is a false call, a bad one is found.",
        class_="quiet",
    )


def _views(content: Content) -> Child:
    told = content.report
    if not told.views:
        return None
    sets = [told] if told.against is None else [told, told.against]
    several = len(sets) > 1
    return [
        tag("h2", "By view"),
        [[tag("p", tag("code", one.reference_set)) if several else None, report_tables.by_view(one)] for one in sets],
        tag("p", UNION_BOUND, class_="quiet"),
    ]


def _comparison(content: Content) -> Child:
    other = content.report.against
    if other is None:
        return None
    return [
        tag("h2", f"Against {other.reference_set}"),
        report_tables.beside(content.report, other),
        tag("p", report_tables.difference(other)),
        report_tables.taught_differently(content.report, other),
    ]


def _changes(content: Content) -> Child:
    other = content.report.against
    if other is None:
        return None
    return [tag("h2", f"Changed verdicts ({len(other.changed)})"), report_tables.changes(other.changed)]


def _charts(content: Content) -> Child:
    found, told = content.found, content.report
    sides = [(scores_of(one.good), scores_of(one.bad)) for one in (found, content.other) if one is not None]
    marks = [Operating(*mark) for mark in operating(told)]
    words = "; ".join(f"{sign} {_says(mark)}" for sign, mark in zip("●■", marks, strict=True))
    dashed = "" if content.other is None else f" Dashed: {content.other.source.reference_set}."
    shown = [found, *found.views.values()]
    histograms = [_histogram(one, one.limits, told) for one in shown if one.limits is not None]
    roc = _figure(report_charts.roc_chart(sides, marks), f"ROC, AUROC {told.auroc:.4f}. {words}.{dashed}")
    return [tag("h2", "Scores"), tag("div", roc, histograms, class_="charts")]


def _figure(drawing: Element, *words: Child) -> Element:
    return tag("figure", drawing, tag("figcaption", *words))


def _says(mark: Operating) -> str:
    return f"{mark.name} limit: {mark.rejected:.1%} false calls, {1 - mark.found:.1%} escapes"


def _histogram(one: Evaluation, limits: Limits, told: Figures) -> Element:
    good, bad = (tag("span", "", class_=f"scale {name}") for name in ("good", "bad"))
    errors = sum(judged.call is Call.ERROR for judged in one.judged)
    left_out = f" {errors} without a score are left out." if errors else ""
    whose = f"View {one.source.camera}. " if told.views else ""
    return _figure(
        report_charts.histogram(scores_of(one.good), scores_of(one.bad), limits),
        *(whose, good, " good images upwards, ", bad, " bad ones downwards. "),
        f"Below review PASS, from there REVIEW, from fail on FAIL.{left_out}",
    )


def _tables(content: Content) -> Child:
    told = content.report
    words = "REVIEW: FAIL between the two limits, a person decides. Marked: what is called wrong."
    return [
        tag("h2", "Verdicts"),
        report_tables.calls(told),
        tag("p", words, class_="quiet"),
        report_tables.at_limits(told),
        tag("h2", "Defects"),
        report_tables.classes(told),
    ]


def _mistakes(content: Content) -> Child:
    return report_mistakes.mistakes(content.report, content.false_calls, content.escapes)


def _errors(content: Content) -> Child:
    return report_mistakes.not_judged(content.report)


def _latency(content: Content) -> Child:
    what = "All views of a part, one after another" if content.report.views else "One image at a time"
    words = f"{what}, decoded, on the machine that made this page; nothing waited for another."
    return [tag("h2", "Time"), report_tables.stages(content.report), tag("p", words, class_="quiet")]


def _provenance(content: Content) -> Child:
    source = content.found.source
    rows: list[tuple[str, Child]] = [
        ("product", source.product),
        ("camera role", source.camera or ", ".join(content.found.views)),
        ("reference set", tag("code", source.reference_set)),
        ("references", str(source.references)),
        ("method", source.method),
        ("registration", source.registration),
        ("why so", [tag("div", reason) for reason in source.reasons] or "not recorded"),
        ("checks", ", ".join(source.checks)),
        ("limits", report_tables.limits(content.report)),
        ("recipe, sha256", tag("code", source.recipe_sha256)),
        ("model, sha256", tag("code", source.model_sha256)),
        ("images", content.data),
        ("judged on", content.date),
        ("program", f"goldline {__version__}"),
    ]
    listed = tag("dl", [[tag("dt", name), tag("dd", value)] for name, value in rows])
    return [tag("h2", "Where this comes from"), listed, tag("p", FOOTNOTE, class_="quiet")]
