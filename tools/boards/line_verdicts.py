"""The Line board's upper half: is it well, and the parts."""

from tools.boards.panel import (
    BAD,
    CARE,
    GOOD,
    VERDICT_COLOURS,
    WHOLE,
    WINDOW,
    Panel,
    Query,
    Row,
    counted,
)

EACH = "{{instance}} {{camera}}"
BY = "instance, camera"
PARTS = "goldline_verdicts_total{CAMERA}"
LATE = "goldline_deadline_missed_total{CAMERA}"
REVIEWS = "goldline_reviews_total{CAMERA}"


def verdicts(outcome: str) -> str:
    """Selects what was closed so."""
    return f'goldline_verdicts_total{{CAMERA, verdict="{outcome}"}}'


def share(some: str, every: str, window: str, by: str = "") -> str:
    """What `some` is of `every`, counted in a window."""
    total = f"sum by ({by})" if by else "sum"
    return f"{total} (increase({some}[{window}])) / {total} (increase({every}[{window}]))"


WELL = Row(
    "Is it well?",
    (
        Panel(
            title="First-pass yield",
            kind="stat",
            unit="percentunit",
            shows="Share of the parts that passed at their first look, over the time the board shows.",
            good="what this product has always had; the colours are a start, a plant sets its own.",
            act="See which verdict grew in *Parts per minute*: FAIL is the product or its lighting, ERROR is the station.",
            queries=(Query(share(verdicts("PASS"), PARTS, WHOLE), "yield"),),
            width=4,
            height=4,
            steps=((None, BAD), (0.9, CARE), (0.97, GOOD)),
        ),
        Panel(
            title="ERROR share",
            kind="stat",
            unit="percentunit",
            shows="Share of the parts that nobody judged. Each is rejected by the PLC.",
            good="below 0.1 %.",
            act="*Parts not judged, by reason* says why.",
            queries=(Query(share(verdicts("ERROR"), PARTS, WHOLE), "ERROR"),),
            width=4,
            height=4,
            # The alert calls at 5 % of five minutes.
            steps=((None, GOOD), (0.001, CARE), (0.05, BAD)),
            alert="GoldlineErrorRate",
        ),
        Panel(
            title="Late answers",
            kind="stat",
            unit="percentunit",
            shows="Share of the answers that came after their deadline; the PLC has rejected those parts by then.",
            good="below 0.1 %, the budget of a month.",
            act="*Answers against their deadlines* says which camera, the Device board says which stage.",
            queries=(Query(share(LATE, PARTS, WHOLE), "late"),),
            width=4,
            height=4,
            # 14.4 times the budget uses up 2 % of a month's in an hour, as the alert has it.
            steps=((None, GOOD), (0.001, CARE), (0.0144, BAD)),
            alert="GoldlineDeadlineBudgetFast",
        ),
        Panel(
            title="Likely false calls",
            kind="stat",
            unit="percentunit",
            shows="Of the parts that failed, the share between the two limits: good parts rejected are among these.",
            good="as low as it was after teaching; a part between the limits wants a person's look.",
            act="Look at them: `goldline images list --verdict FAIL`. Teach the good ones, or widen with `goldline evaluate NAME --data DIR`.",
            queries=(Query(share(REVIEWS, verdicts("FAIL"), WHOLE), "of FAIL"),),
            width=4,
            height=4,
            steps=((None, GOOD), (0.3, CARE), (0.6, BAD)),
            alert="GoldlineFalseCallDrift",
        ),
        Panel(
            title="Cameras away",
            kind="stat",
            unit="none",
            shows="Cameras that do not stream now.",
            good="0.",
            act="*Cameras* below says which, and since when. Its parts are ERROR(camera_down); other cameras go on.",
            queries=(Query("sum(1 - goldline_camera_up{CAMERA})", "away"),),
            width=4,
            height=4,
            steps=((None, GOOD), (1, BAD)),
            alert="GoldlineCameraDown",
        ),
        Panel(
            title="Workers away",
            kind="stat",
            unit="none",
            shows="Processes of the stations that are not inside their deadline now.",
            good="0; a restart takes seconds.",
            act="*Workers* below says which; the log says why.",
            queries=(Query("sum(1 - goldline_worker_up{STATION})", "away"),),
            width=4,
            height=4,
            steps=((None, GOOD), (1, BAD)),
            alert="GoldlineWorkerDown",
        ),
        Panel(
            title="Stations that answer",
            kind="states",
            unit="none",
            shows="Whether each station's /metrics could be read.",
            good="green all along.",
            act="`systemctl status goldline` on the device. While a station is away its PLC rejects every part.",
            queries=(Query("up{STATION}", "{{instance}}"),),
            width=12,
            height=5,
            words={1: ("answers", GOOD), 0: ("silent", BAD)},
            alert="GoldlineStationDown",
        ),
        Panel(
            title="Alerts now",
            kind="table",
            unit="none",
            shows="What calls somebody at this moment, or will unless it mends itself.",
            good="an empty table.",
            act="The name is a link to its runbook: what it means, and what to do first.",
            # The stations' own rules lead to these; some of them sum over jobs.
            queries=(Query('ALERTS{instance=~"$instance"}', ""),),
            width=12,
            height=5,
            steps=((None, BAD),),
        ),
    ),
)

PARTS_ROW = Row(
    "Parts",
    (
        Panel(
            title="Parts per minute, by verdict",
            kind="areas",
            unit="cpm",
            shows="Parts answered in a minute, stacked.",
            good="the line's own rate, nearly all of it PASS.",
            act="Less in all: triggers are missing or the line stands. More FAIL: look at pictures. More ERROR: see reasons.",
            queries=(Query(f"sum by (verdict) (rate({PARTS}[{WINDOW}])) * 60", "{{verdict}}"),),
            width=12,
            colours=VERDICT_COLOURS,
        ),
        Panel(
            title="Parts per minute, by camera",
            kind="lines",
            unit="cpm",
            shows="Parts answered in a minute, for each camera or group that is triggered.",
            good="what its trigger gives.",
            act="One that fell: its trigger signal, then the camera. `goldline doctor` asks both.",
            queries=(Query(f"sum by ({BY}) (rate(goldline_triggers_total{{CAMERA}}[{WINDOW}])) * 60", EACH),),
            width=12,
        ),
        Panel(
            title="Last fails",
            kind="table",
            unit="none",
            shows="For each camera: when a part last failed, and how many did while the board's time ran; of these, those "
            "between the limits; and parts nobody judged.",
            good="fails spread over the cameras as the product has them.",
            act="Their pictures and regions: `goldline images list --verdict FAIL` on the device.",
            queries=(
                Query(
                    f"max by ({BY}) (max_over_time(timestamp(sum by ({BY}) "
                    f"(increase({verdicts('FAIL')}[1m])) > 0)[{WHOLE}:10s])) * 1000",
                    "last FAIL",
                ),
                Query(f"sum by ({BY}) (increase({verdicts('FAIL')}[{WHOLE}]))", "FAIL"),
                Query(f"sum by ({BY}) (increase({REVIEWS}[{WHOLE}]))", "between limits"),
                Query(f"sum by ({BY}) (increase({verdicts('ERROR')}[{WHOLE}]))", "ERROR"),
                Query(f"sum by ({BY}) (increase({LATE}[{WHOLE}]))", "late"),
            ),
            width=12,
            units={"last FAIL": "dateTimeFromNow"},
        ),
        Panel(
            title="Parts not judged, by reason",
            kind="bars",
            unit="short",
            shows="ERROR verdicts by why they were given.",
            good="none.",
            act="camera_down, frozen, stale, incomplete: the camera. overrun, no_slot, deadline: too much at once. "
            "worker_crash: a process died, see *Restarts*. cannot_judge: the picture or the recipe. shutdown: a stop.",
            queries=(Query(f"sum by (reason) {counted('goldline_errors_total{CAMERA}', WINDOW)}", "{{reason}}"),),
            width=12,
            alert="GoldlineErrorRate",
        ),
    ),
)
