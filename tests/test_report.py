"""The page of an evaluation: it says what the JSON says, shows what went wrong, and is whole and harmless."""

import argparse
import base64
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge import exhibits, report_charts
from edge.commands import evaluate as command
from edge.config import Station
from edge.evaluate import Evaluation, Judged, Source
from edge.exhibits import Exhibit, Shown
from edge.figures import PixelCurve
from edge.judge import fold
from edge.labelled import Sample
from edge.markup import page, tag
from edge.records import Limits, Outcome, Reason, Verdict, error
from edge.report import Content, render
from edge.summary import report
from tests import lid

# Names that a page must show and never obey.
HOSTILE = (
    "<script>.png",
    '" onerror="alert(1).png',
    "&lt;img src=x&gt;.png",
    "<!-- ü 部品.png",
    "</style><svg onload=x>.png",
)
VOID = {"meta", "img"}


class Page(HTMLParser):
    """A parsed page: its text, its tags with their attributes, and whether they nest."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.declaration = ""
        self._open: list[str] = []
        self.feed(document)
        self.close()
        assert self._open == []

    def handle_decl(self, decl: str) -> None:
        self.declaration = decl

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def judged(name: str, label: str, verdict: Verdict) -> Judged:
    sample = Sample(Path(name), f"test/{label}/{name}", label, None)
    return Judged(sample, verdict, (1.0, 20.0, 0.5) if verdict.score is not None else ())


def passes(score: float) -> Verdict:
    return Verdict(outcome=Outcome.PASS, score=score)


def fails(score: float, *, review: bool = False) -> Verdict:
    return Verdict(outcome=Outcome.FAIL, score=score, review=review)


def evaluation(identity: str, *some: Judged, pixels: PixelCurve | None = None) -> Evaluation:
    source = Source(
        product="lid",
        reference_set=identity,
        camera="main",
        method="a bank",
        references=31,
        registration="rigid",
        recipe_sha256="r" * 64,
        model_sha256="m" * 64,
        reasons=("because <b>",),
        checks=("part.anomaly",),
        promised=0.03,
        taught={"regions": [{"name": "part"}]},
    )
    return Evaluation(source, Limits(review=3.0, fail=6.0), tuple(some), pixels)


def content(found: Evaluation, other: Evaluation | None = None, shown: Shown | None = None) -> Content:
    nothing = shown or Shown((), wrong=False)
    return Content(report(found, other), found, other, nothing, nothing, "a folder", "2025-05-06 07:08 UTC")


NOW = evaluation(
    "aaaa",
    *(judged(name, "good", fails(5.0, review=True)) for name in HOSTILE),
    *(judged(f"{index}.png", "good", passes(index / 10)) for index in range(-9, 5)),
    judged("torn <i>.png", "good", error(Reason.CANNOT_JUDGE, "no <b>image</b>")),
    *(judged(name, "<u>crack", passes(1.0)) for name in HOSTILE),
    judged("found.png", "dent", fails(700.0)),
    judged("kept.png", "dent", fails(4.0, review=True)),
    judged("dark.png", "dent", error(Reason.CANNOT_JUDGE)),
)
BEFORE = evaluation(
    "bbbb",
    *(judged(one.sample.path.name, one.sample.label, passes(2.0)) for one in NOW.judged[:5]),
    *NOW.judged[5:-3],
    judged("found.png", "dent", passes(2.5)),
    *NOW.judged[-2:],
)


def test_the_page_is_html_that_fetches_and_runs_nothing() -> None:
    document = render(content(NOW, BEFORE))
    shown = Page(document)
    assert shown.declaration == "doctype html"
    assert {"charset": "utf-8"} in shown.named("meta") and document.index("charset") < 100
    assert not {"script", "link", "iframe", "object"} & {name for name, _ in shown.tags}
    assert not [key for _, attributes in shown.tags for key in attributes if key.startswith("on")]
    sources = [
        value or "" for _, attributes in shown.tags for key, value in attributes.items() if key in {"src", "href"}
    ]
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not re.search(r"url\(|@import|http:|https:", document)


def test_names_are_shown_as_they_are() -> None:
    shown = Page(render(content(NOW, BEFORE)))
    for name in HOSTILE:
        assert f"test/good/{name}" in shown.texts and f"test/<u>crack/{name}" in shown.texts
    assert "test/good/torn <i>.png" in shown.texts and "cannot_judge: no <b>image</b>" in shown.texts
    assert "because <b>" in shown.texts and "<u>crack" in shown.texts
    assert not {"u", "i"} & {name for name, _ in shown.tags}


def test_the_page_says_what_the_json_says() -> None:
    pixels = PixelCurve()
    mask = np.eye(8, dtype=np.bool_)
    pixels.add(np.where(mask, 3.0, np.arange(64).reshape(8, 8) / 16).astype(np.float32), mask)
    found = evaluation("aaaa", *NOW.judged, pixels=pixels)
    figures = report(found)
    shown = Page(render(content(found)))
    assert f"{figures.auroc:.4f}" in shown.texts and f"{figures.au_pro:.3f}" in shown.texts
    assert f"{figures.false_call_rate:.1%}" in shown.texts and "6 of 20 good" in shown.texts
    assert f"{figures.escape_rate:.1%}" in shown.texts and "5 of 8 bad" in shown.texts
    lower, upper = figures.escape_interval
    assert f"95%: {lower * 100:.1f} to {upper:.1%}" in shown.texts
    assert f"pixel AUROC {figures.pixel_auroc:.4f}" in shown.texts
    assert f"at most {1 - 0.025 ** (1 / 20):.1%}" in shown.text and "368 images" in shown.text
    assert "21.5 ms" in shown.texts
    assert {"aaaa", "r" * 64, "m" * 64, "31", "rigid", "2025-05-06 07:08 UTC"} <= set(shown.texts)


def test_the_operating_points_are_the_rates() -> None:
    drawn = Page(render(content(NOW)))
    assert "review limit: 30.0% false calls, 62.5% escapes" in drawn.texts
    # Of the good only the one without a verdict stays out when what is open to review is let through.
    assert "fail limit: 5.0% false calls, 75.0% escapes" in drawn.texts
    (circle,) = drawn.named("circle")
    left, right = (float(line["x1"] or 0) for line in (drawn.named("line")[5], drawn.named("line")[9]))
    assert (float(circle["cx"] or 0) - left) / (right - left) == pytest.approx(0.3, abs=0.01)


def test_calls_are_counted_by_class_and_wrong_ones_marked() -> None:
    document = render(content(NOW))
    rows = [Page(row).texts for row in re.findall(r"<tr>.*?</tr>", document)]
    assert ["good", "20", "14", "5", "·", "1"] in rows
    assert ["<u>crack", "5", "5", "·", "·", "·"] in rows
    assert ["dent", "3", "·", "1", "1", "1"] in rows
    assert re.findall(r'<td class="wrong">(\d+)</td>', document) == ["5", "1", "5"]


def test_two_sets_stand_beside_each_other() -> None:
    told = content(NOW, BEFORE)
    against = told.report.against
    assert against is not None
    shown = Page(render(told))
    assert "Against bbbb" in shown.texts and "Changed verdicts (6)" in shown.texts
    assert "5 x new false call, 1 x escape gone." in shown.texts
    for one in against.changed:
        assert one.image in shown.texts and f"{one.old} → {one.new}" in shown.texts
    assert f"{against.auroc_difference:+.4f}" in shown.text
    assert "Dashed: bbbb" in shown.text
    assert "Against" not in Page(render(content(NOW))).text


def of_parts(identity: str, **views: tuple[Verdict, ...]) -> Evaluation:
    """Two good parts and a bad one, by the verdicts on their views."""
    labels = ("good", "good", "dent")
    seen = {role: [judged(f"{role}/{n}", labels[n], one) for n, one in enumerate(some)] for role, some in views.items()}
    whole = [
        Judged(
            Sample(Path("part"), f"test/{label}/{n}", label, None),
            fold([view.verdict for view in each]),
            (),
            dict(zip(seen, each, strict=True)),
        )
        for n, (label, each) in enumerate(zip(labels, zip(*seen.values(), strict=True), strict=True))
    ]
    made = {role: evaluation(identity, *some) for role, some in seen.items()}
    alone = {role: replace(one, source=replace(one.source, camera=role)) for role, one in made.items()}
    taught = {"regions": [{"name": role, "camera": role} for role in seen]}
    source = replace(alone[next(iter(seen))].source, camera=None, taught=taught, promised=0.125)
    return Evaluation(source, None, tuple(whole), None, alone)


def test_parts_stand_beside_their_views() -> None:
    missing = error(Reason.MISSING_VIEW, "no picture")
    two = of_parts("aaaa", side=(passes(0.1), missing, passes(1.0)), top=(fails(7.0), passes(0.2), fails(8.0)))
    one = of_parts("bbbb", top=(passes(0.1), passes(0.2), fails(4.0, review=True)))
    told = content(two, one)
    assert told.report.calls == {
        "good": {"PASS": 0, "REVIEW": 0, "FAIL": 1, "ERROR": 1},
        "dent": {"PASS": 0, "REVIEW": 0, "FAIL": 1, "ERROR": 0},
    }
    assert told.report.views["side"].escape_rate == 1 and told.report.views["top"].escape_rate == 0
    shown = Page(render(told))
    assert {"By view", "whole part", "side", "top"} <= set(shown.texts)
    assert "union bound" in shown.text and "2 good and 1 bad parts of a folder" in shown.text
    assert "12.5%" in shown.texts and "promised: at most 12.5%" in shown.texts
    assert "regions.side" in shown.texts
    # One histogram for each view, as each has limits of its own.
    assert [text for text in shown.texts if text.startswith("View ")] == ["View side. ", "View top. "]


def test_what_has_no_verdict_is_told_from_what_is_shown() -> None:
    picture = "data:image/jpeg;base64,AAAA"
    wrong = Exhibit(NOW.judged[0], "main", NOW.judged[0], picture, picture, picture, "a.png")
    shown = Page(render(content(NOW, shown=Shown((wrong,) * 5, wrong=True))))
    assert "All 5, worst first. 1 without a verdict: see Not judged." in shown.texts
    assert "All 5, worst first." in shown.texts


@pytest.mark.parametrize(("review", "fail"), [(-5.0, -4.0), (2.0, 2.0), (3.0, 11.92), (400.0, 123456.0)])
def test_limits_are_named_inside_the_histogram(review: float, fail: float) -> None:
    good, bad = np.array([-0.2, 0.1, 0.4]), np.array([0.3, 0.5])
    drawn = page(report_charts.histogram(good, bad, Limits(review=review, fail=fail)))
    labels = re.findall(
        r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="middle" class="title">(review|fail) ([^<]+)<', drawn
    )
    assert [name for _, _, name, _ in labels] == ["review", "fail"]
    assert labels[0][1] != labels[1][1]
    for x, _, name, value in labels:
        half = len(f"{name} {value}") * 7 / 2
        assert half <= float(x) <= report_charts.WIDTH - half


def test_an_evaluation_without_one_verdict_still_has_a_page() -> None:
    broken = error(Reason.CANNOT_JUDGE, "broken")
    none = evaluation("aaaa", judged("a.png", "good", broken), judged("b.png", "dent", broken))
    shown = Page(render(content(none, none)))
    assert "not measured" in shown.texts and "none" in shown.texts and "100.0%" in shown.texts
    assert json.loads(json.dumps(report(none).auroc)) == 0.5


@pytest.mark.parametrize("score", [-40.0, 0.0, 1e6])
def test_every_score_has_a_place_in_the_histogram(score: float) -> None:
    found = evaluation("aaaa", judged("a.png", "good", passes(0.0)), judged("b.png", "dent", fails(score)))
    bars = [one for one in Page(render(content(found))).named("rect") if one.get("class") in {"good", "bad"}]
    assert sorted(str(one["class"]) for one in bars) == ["bad", "good"]
    for one in bars:
        numbers = [float(one[key] or "") for key in ("x", "y", "width", "height")]
        assert all(math.isfinite(number) and number >= 0 for number in numbers) and numbers[0] + numbers[2] <= 420


def test_three_pictures_stand_side_by_side() -> None:
    picture = "data:image/jpeg;base64,AAAA"
    exhibit = Exhibit(NOW.judged[0], "main", NOW.judged[0], picture, picture, None, "no reference")
    shown = Page(render(content(NOW, shown=Shown((exhibit,), wrong=True))))
    assert [one["src"] for one in shown.named("img")] == [picture] * 4
    assert "closest good: no reference" in shown.texts
    assert "test/good/<script>.png: REVIEW, score 5.00" in shown.texts


def test_pictures_stay_small_however_noisy() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (900, 1200, 3), np.uint8)
    uri = exhibits.data_uri(noise)
    assert len(uri) * 3 * 2 * exhibits.MOST < 3_000_000
    content = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    assert cv2.imdecode(content, cv2.IMREAD_COLOR).shape == (270, 360, 3)


def test_text_between_tags_stays_where_it_was() -> None:
    document = page(tag("p", "a", tag("b", "<c>"), "d", None, [tag("i", x_y_=1.5), "e"], class_='"'))
    assert document == '<!doctype html>\n<p class="&quot;">a<b>&lt;c&gt;</b>d<i x-y="1.5"></i>e</p>\n'


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Station:
    return lid.taught(tmp_path_factory.mktemp("station"))


def written(station: Station, data: Path) -> str:
    """The page; its JSON is printed."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    target = data / "page.html"
    arguments = parser.parse_args([lid.PRODUCT, "--data", str(data), "--report", str(target), "--json"])
    arguments.config = station.state_dir.parent / "config.toml"
    assert command.run(arguments) == 0
    return target.read_text(encoding="utf-8")


def test_the_command_writes_a_page_that_shows_what_went_wrong(
    station: Station, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lids = lid.Lids(60)
    good = {f"{index}.png": lids.moved(0, 0) for index in range(3)}
    lid.write(tmp_path / "test" / "good", good | {"<script>.png": lids.bad()})
    lid.write(tmp_path / "test" / "foreign", {"1.png": lids.bad(), "missed & gone.png": lids.moved(1, 0)})
    mask = np.zeros((lid.SIZE[1], lid.SIZE[0]), np.uint8)
    x, y, width, height = lid.SPOT
    mask[y : y + height, x : x + width] = 255
    lid.write(tmp_path / "ground_truth" / "foreign", {"1.png": mask, "missed & gone.png": mask})
    document = written(station, tmp_path)
    figures = json.loads(capsys.readouterr().out)
    shown = Page(document)
    for name in (*figures["false_calls"], *figures["escapes"]):
        assert any(text.startswith(f"{name}: ") for text in shown.texts)
    assert {"test/good/<script>.png", "test/foreign/missed & gone.png"} == {
        *figures["false_calls"],
        *figures["escapes"],
    }
    pictures = [str(one["src"]) for one in shown.named("img")]
    assert len(pictures) == 6 and all(source.startswith("data:image/jpeg;base64,") for source in pictures)
    assert len(document) < 3_000_000
    assert f"{figures['auroc']:.4f}" in shown.texts
    escaped = picture(pictures[3])
    assert (abs(escaped - np.array([230, 200, 0])).max(axis=-1) < 90).any(), "the ground truth is outlined"


def test_where_nothing_went_wrong_the_closest_are_shown(
    station: Station, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lids = lid.Lids(61)
    lid.write(tmp_path / "test" / "good", {f"{index}.png": lids.moved(0, 0) for index in range(6)})
    lid.write(tmp_path / "test" / "foreign", {f"{index}.png": lids.bad() for index in range(2)})
    document = written(station, tmp_path)
    capsys.readouterr()
    shown = Page(document)
    assert "No good image was rejected. These came closest." in shown.texts
    assert "No bad image was called PASS. These came closest." in shown.texts
    assert len(shown.named("img")) == 3 * (exhibits.CLOSEST + 2)


def picture(source: str) -> np.ndarray:
    content = np.frombuffer(base64.b64decode(source.partition(",")[2]), np.uint8)
    return cv2.imdecode(content, cv2.IMREAD_COLOR).astype(int)
