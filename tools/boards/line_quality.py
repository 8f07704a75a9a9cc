"""The Line board's middle: how good the parts are, and how soon the answers come."""

from tools.boards.line_verdicts import BY, EACH, LATE, PARTS, REVIEWS, share, verdicts
from tools.boards.panel import (
    BAD,
    CALM,
    UNJUDGED,
    WINDOW,
    Panel,
    Query,
    Row,
    quantile,
)

QUALITY = Row(
    "How good they are",
    (
        Panel(
            title="First-pass yield, by camera",
            kind="lines",
            unit="percentunit",
            shows="Share that passed, of the parts of each camera.",
            good="level.",
            act="A step is a change on the line: tool, lot, lighting. A slope is drift: see *Drift*.",
            queries=(Query(share(verdicts("PASS"), PARTS, WINDOW, BY), EACH),),
            top=1.0,
        ),
        Panel(
            title="Scores against their limit",
            kind="lines",
            unit="none",
            shows="Median and 95th percentile of score / limit: above 1 a part fails.",
            good="the median well below 1, so that good parts have room.",
            act="A median that creeps to 1 becomes false calls: clean the lens, mend the light, then teach anew.",
            queries=(
                Query(quantile(0.5, "goldline_score_ratio", "VIEW", BY), f"median {EACH}"),
                Query(quantile(0.95, "goldline_score_ratio", "VIEW", BY), f"95 % {EACH}"),
            ),
            steps=((None, CALM), (1, BAD)),
            is_limit=True,
        ),
        Panel(
            title="How scores spread",
            kind="heatmap",
            unit="none",
            shows="Parts in each range of score / limit; the limit is the upper edge of the range that ends at 1.",
            good="a dark band far below 1, a few far above it, little between 0.8 and 1.25.",
            act="A band that has grown near 1 is a limit that does not part good from bad: `goldline evaluate NAME --data DIR`.",
            queries=(Query(f"sum by (le) (increase(goldline_score_ratio_bucket{{VIEW}}[{WINDOW}]))", "{{le}}"),),
        ),
        Panel(
            title="Likely false calls, by camera",
            kind="lines",
            unit="percentunit",
            shows="Of the parts that failed, the share between the two limits.",
            good="level.",
            act="Look at them: `goldline images list --verdict FAIL`, and teach the good ones.",
            queries=(Query(share(REVIEWS, verdicts("FAIL"), WINDOW, BY), EACH),),
            top=1.0,
            alert="GoldlineFalseCallDrift",
        ),
        Panel(
            title="Drift: evidence that good parts have changed",
            kind="lines",
            unit="none",
            shows="Powers of ten for passed parts scoring otherwise than taught ones, and how far apart the two lie (0 to 1).",
            good="below 7.",
            act="docs/drift.md: what to look at. Limits and references stay as they are until a person changes them.",
            queries=(
                Query("max by (instance, camera) (goldline_drift_log10_evidence{VIEW})", f"evidence {EACH}"),
                Query("max by (instance, camera) (goldline_drift_ks_distance{VIEW})", f"distance {EACH}"),
            ),
            steps=((None, CALM), (7, BAD)),
            is_limit=True,
            alert="GoldlineDrift",
        ),
        Panel(
            title="Drift of pose, light and sharpness",
            kind="lines",
            unit="none",
            shows="Mean of the newest parts beside the taught ones, in spreads of these.",
            good="between -4 and 4.",
            act="dx, dy, angle: the fixture or the camera moved. gain: the light. sharpness: the lens.",
            queries=(
                Query("max by (camera, quantity) (goldline_drift_trend_spreads{VIEW})", "{{camera}} {{quantity}}"),
            ),
            steps=((None, BAD), (-4, CALM), (4, BAD)),
            is_limit=True,
            alert="GoldlineDrift",
        ),
    ),
)

LATENCY = Row(
    "How soon the answers come",
    (
        Panel(
            title="Answers against their deadlines",
            kind="lines",
            unit="s",
            shows="99th percentile from a trigger accepted to its verdict, and dashed each camera's deadline.",
            good="well below the dashed line of its colour's camera.",
            act="All cameras at once: the device, see its board. One: its picture size, its recipe, its transport.",
            queries=(
                Query(quantile(0.99, "goldline_answer_seconds", "CAMERA", BY), f"99 % {EACH}"),
                Query(f"max by ({BY}) (goldline_deadline_seconds{{CAMERA}})", f"deadline {EACH}"),
            ),
            dashed="/^deadline/",
            alert="GoldlineDeadlineBudgetFast",
        ),
        Panel(
            title="How answers spread",
            kind="heatmap",
            unit="s",
            shows="Answers in each range of time; every deadline is an edge.",
            good="one dark band, far below the deadlines.",
            act="Two bands: two products or cameras, or work that takes turns. A long tail: other work on the device.",
            queries=(Query(f"sum by (le) (increase(goldline_answer_seconds_bucket{{CAMERA}}[{WINDOW}]))", "{{le}}"),),
        ),
        Panel(
            title="Late answers, by camera",
            kind="bars",
            unit="short",
            shows="Answers that came after their deadline, and results that came for parts already closed.",
            good="none.",
            act="The Device board: which stage grew, is a processor free, is the accelerator the one asked for.",
            queries=(
                Query(f"sum by ({BY}) (increase({LATE}[{WINDOW}]))", EACH),
                Query(
                    f"sum by (instance) (increase(goldline_late_results_total{{STATION}}[{WINDOW}]))",
                    "closed {{instance}}",
                ),
            ),
            colours={"ERROR": UNJUDGED},
            alert="GoldlineDeadlineBudgetSlow",
        ),
    ),
)
