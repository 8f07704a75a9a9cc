"""An evaluation as one page of HTML: figures and how sure they are, curves, what was called wrong, and where from.

The page is whole: style, charts and pictures are inside it, nothing is fetched and no script runs, so it can be
mailed, kept, and read in ten years.
"""

from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from edge import __version__, markup, report_charts, report_tables
from edge.errors import GoldlineError
from edge.evaluate import Call, Evaluation
from edge.exhibits import Exhibit, Shown
from edge.figures import Interval, images_to_show, rate_interval
from edge.labelled import GOOD
from edge.markup import Child, tag
from edge.report_charts import Operating
from edge.report_tables import area_interval, ms, score, share_interval
from edge.summary import Figures, Report, scores_of

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
    sections = (_headline, _comparison, _charts, _tables, _changes, _mistakes, _errors, _latency, _provenance)
    body = tag("body", tag("h1", title), [section(content) for section in sections])
    return markup.page(tag("html", head, body, lang="en"))


def _headline(content: Content) -> Child:
    told = content.report
    what = (
        f"{told.n_good} good and {told.n_bad} bad images of {content.data}, judged by reference set "
        f"{told.reference_set} on {content.date}."
    )
    tiles = tag("div", [_tile(*words) for words in _tiles(told)], class_="tiles")
    return [tag("p", what, class_="quiet"), tiles, _what_n_shows(told)]


def _tiles(told: Figures) -> list[tuple[str, ...]]:
    good, bad = f"of {told.n_good} good", f"of {told.n_bad} bad"
    tiles = [
        ("AUROC", f"{told.auroc:.4f}", "good against bad", area_interval(told.auroc_interval)),
        _rate_tile("False calls", told.false_call_rate, f"{len(told.false_calls)} {good}", told.false_call_interval),
        _rate_tile("Escapes", told.escape_rate, f"{len(told.escapes)} {bad}", told.escape_interval),
        ("ERROR", f"{told.error_rate:.1%}", f"{len(told.errors)} of all {told.n_good + told.n_bad}", "not judged"),
    ]
    if told.pixel_auroc is not None and told.au_pro is not None:
        tiles.append(("AU-PRO", f"{told.au_pro:.3f}", "where it deviates", f"pixel AUROC {told.pixel_auroc:.4f}"))
    p50, p99 = told.latency_ms["p50"], told.latency_ms["p99"]
    if p50 is not None:
        tiles.append(("Frame to verdict", ms(p50), "median", f"p99 {ms(p99)}"))
    return tiles


def _rate_tile(name: str, rate: float, count: str, ends: Interval) -> tuple[str, ...]:
    return (name, f"{rate:.1%}", count, share_interval(ends))


def _tile(name: str, value: str, *notes: str) -> Element:
    return tag("div", name, tag("b", value), [tag("small", note) for note in notes], class_="tile")


def _what_n_shows(told: Figures) -> Child:
    good, bad = (f"{rate_interval(0, n)[1]:.1%}" for n in (told.n_good, told.n_bad))
    return tag(
        "p",
        "What these images can show: with 95% confidence the true rates lie in the intervals above, as far as the "
        f"images are like those of the line. {told.n_good} good images without one false call would show a rate of "
        f"at most {good}, {told.n_bad} bad ones without one escape at most {bad}; to show less than {ASKED_RATE:.0%} "
        f"takes {images_to_show(ASKED_RATE)} images without a mistake. An image that cannot be judged leaves the line: "
        "a good one is a false call, a bad one is found.",
        class_="quiet",
    )


def _comparison(content: Content) -> Child:
    other = content.report.against
    if other is None:
        return None
    return [
        tag("h2", f"Against {other.reference_set}"),
        report_tables.beside(content.report, other),
        tag("p", report_tables.difference(other)),
    ]


def _changes(content: Content) -> Child:
    other = content.report.against
    if other is None:
        return None
    return [tag("h2", f"Changed verdicts ({len(other.changed)})"), report_tables.changes(other.changed)]


def _charts(content: Content) -> Child:
    found, limits = content.found, content.found.limits
    sides = [(scores_of(one.good), scores_of(one.bad)) for one in (found, content.other) if one is not None]
    marks = _operating(content.report)
    words = "; ".join(f"{sign} {_says(mark)}" for sign, mark in zip("●■", marks, strict=True))
    dashed = "" if content.other is None else f" Dashed: {content.other.source.reference_set}."
    return [
        tag("h2", "Scores"),
        tag(
            "div",
            _figure(report_charts.roc_chart(sides, marks), f"ROC, AUROC {content.report.auroc:.4f}. {words}.{dashed}"),
            _figure(report_charts.histogram(*sides[0], limits), _histogram_words(content)),
            class_="charts",
        ),
    ]


def _figure(drawing: Element, words: str) -> Element:
    return tag("figure", drawing, tag("figcaption", words))


def _operating(told: Figures) -> list[Operating]:
    """Where the line stands when what is open to review is rejected, and when it is let through."""
    surely = (Call.FAIL.value, Call.ERROR.value)
    failed = {label: sum(counts[call] for call in surely) for label, counts in told.calls.items()}
    good = failed.pop(GOOD)
    return [
        Operating("review", told.false_call_rate, 1 - told.escape_rate),
        Operating("fail", good / told.n_good, sum(failed.values()) / told.n_bad),
    ]


def _says(mark: Operating) -> str:
    return f"{mark.name} limit: {mark.rejected:.1%} false calls, {1 - mark.found:.1%} escapes"


def _histogram_words(content: Content) -> str:
    errors = len(content.report.errors)
    left_out = f" {errors} images without a score are left out." if errors else ""
    return f"Good images upwards, bad ones downwards; below review PASS, from fail on FAIL.{left_out}"


def _tables(content: Content) -> Child:
    return [
        tag("h2", "Verdicts"),
        report_tables.calls(content.report),
        tag(
            "p", "FAIL review: between the two limits, a person decides. Marked: what is called wrong.", class_="quiet"
        ),
        tag("h2", "Defects"),
        report_tables.classes(content.report),
    ]


def _mistakes(content: Content) -> Child:
    told = content.report
    return [
        tag("h2", "False calls"),
        _shown(content.false_calls, told.false_calls, "No good image was called FAIL. These came closest."),
        tag("h2", "Escapes"),
        _shown(content.escapes, told.escapes, "No bad image was called PASS. These came closest."),
        _legend(),
    ]


def _shown(shown: Shown, names: tuple[str, ...], closest: str) -> Child:
    if not shown.wrong:
        told = closest
    elif len(names) > len(shown.exhibits):
        told = f"The worst {len(shown.exhibits)} of {len(names)}."
    else:
        told = f"All {len(names)}, worst first." if len(names) > 1 else "This one."
    every = [tag("p", "All, worst first:"), tag("ul", [tag("li", one) for one in names], class_="names")]
    return [
        tag("p", told),
        [_exhibit(one) for one in shown.exhibits],
        every if len(names) > len(shown.exhibits) or (not shown.wrong and names) else None,
    ]


def _exhibit(one: Exhibit) -> Element:
    judged = one.judged
    panels = (
        ("inspected", one.inspected),
        ("deviation", one.deviation),
        (f"closest good: {one.reference_name}", one.reference),
    )
    return tag(
        "div",
        tag("h3", f"{judged.sample.name}: {judged.call.value}, score {score(judged.score)}"),
        tag("div", [_panel(words, picture) for words, picture in panels], class_="panels"),
        class_="exhibit",
    )


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
        "and beyond. Red frames: what was called a deviation. Cyan outlines: what the ground truth says.",
        class_="quiet",
    )


def _errors(content: Content) -> Child:
    errors = content.report.errors
    if not errors:
        return None
    rows = [[report_tables.words(name), report_tables.words(why)] for name, why in errors.items()]
    return [tag("h2", "Not judged"), report_tables.table(["image", "why"], rows, "text")]


def _latency(content: Content) -> Child:
    words = "One image at a time, decoded, on the machine that made this page; nothing waited for another."
    return [tag("h2", "Time"), report_tables.stages(content.report), tag("p", words, class_="quiet")]


def _provenance(content: Content) -> Child:
    source = content.found.source
    rows: list[tuple[str, Child]] = [
        ("product", source.product),
        ("camera role", source.camera),
        ("reference set", tag("code", source.reference_set)),
        ("references", str(source.references)),
        ("method", source.method),
        ("registration", source.registration),
        ("why so", [tag("div", reason) for reason in source.reasons] or "not recorded"),
        ("limits", f"review {content.found.limits.review:.3f}, fail {content.found.limits.fail:.3f}"),
        ("recipe, sha256", tag("code", source.recipe_sha256)),
        ("model, sha256", tag("code", source.model_sha256)),
        ("images", content.data),
        ("judged on", content.date),
        ("program", f"goldline {__version__}"),
    ]
    listed = tag("dl", [[tag("dt", name), tag("dd", value)] for name, value in rows])
    return [tag("h2", "Where this comes from"), listed, tag("p", FOOTNOTE, class_="quiet")]
