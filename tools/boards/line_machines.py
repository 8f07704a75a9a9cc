"""The Line board's lower half: its cameras and its workers."""

from tools.boards.panel import BAD, CALM, CARE, GOOD, WHOLE, WINDOW, Panel, Query, Row, counted

EACH = "{{instance}} {{camera}}"
BY = "instance, camera"
DROPPED = "goldline_frames_dropped_total{VIEW}"
RECONNECTS = "goldline_camera_reconnects_total{CAMERA}"
RESTARTS = "goldline_worker_restarts_total{STATION}"

CAMERAS = Row(
    "Cameras",
    (
        Panel(
            title="Cameras",
            kind="states",
            unit="none",
            shows="Whether each camera streams.",
            good="green all along.",
            act="Its power, its cable, its switch port; then the log. It is asked for again every 2 s.",
            queries=(Query(f"max by ({BY}) (goldline_camera_up{{CAMERA}})", EACH),),
            width=12,
            words={1: ("streams", GOOD), 0: ("away", BAD)},
            alert="GoldlineCameraDown",
        ),
        Panel(
            title="What each camera does now",
            kind="table",
            unit="none",
            shows="The state of each camera, and how long ago its newest picture came.",
            good="streaming; an age below the line's own pause.",
            act="connecting for minutes: absent or held by another program. `goldline camera list` shows who answers.",
            queries=(
                Query("max by (instance, camera, state) (goldline_camera_state{CAMERA}) == 1", ""),
                Query(
                    f"time() - max by ({BY}) (goldline_camera_last_frame_timestamp_seconds{{CAMERA}})", "newest picture"
                ),
            ),
            width=12,
            units={"newest picture": "s"},
            alert="GoldlineCameraStale",
        ),
        Panel(
            title="Pictures a second",
            kind="lines",
            unit="cps",
            shows="Pictures that each camera delivered, complete or not.",
            good="its rate, or its trigger's.",
            act="Fewer: see what was dropped, and the camera's link (`goldline doctor`).",
            queries=(Query(f"sum by ({BY}) (rate(goldline_frames_captured_total{{CAMERA}}[{WINDOW}]))", EACH),),
        ),
        Panel(
            title="Frames never judged, by reason",
            kind="bars",
            unit="short",
            shows="Frames dropped, by stage and reason, and frames with missing data.",
            good="superseded only, where a camera runs free and takes more pictures than are judged.",
            act="camera lost, incomplete: the network, docs/cameras.md. no_slot, overrun, deadline: too much at once.",
            queries=(
                Query(f"sum by (stage, reason) {counted(DROPPED, WINDOW)}", "{{stage}} {{reason}}"),
                Query(
                    f"sum by ({BY}) (increase(goldline_camera_incomplete_frames_total{{CAMERA}}[{WINDOW}]))",
                    f"incomplete {EACH}",
                ),
            ),
        ),
        Panel(
            title="Cameras opened again",
            kind="table",
            unit="short",
            shows="How often each camera had to be opened again while the board's time ran, and why.",
            good="an empty table.",
            act="lost, again and again: plug, cable, switch port. frozen, stalled: switch the camera off and on.",
            queries=(Query(f"sum by (instance, camera, cause) {counted(RECONNECTS, WHOLE)} > 0", "times"),),
            steps=((None, CARE),),
            alert="GoldlineCameraUnsteady",
        ),
    ),
)

WORKERS = Row(
    "Workers",
    (
        Panel(
            title="Workers",
            kind="states",
            unit="none",
            shows="Whether each process is past its start and inside its deadline.",
            good="green all along.",
            act="The log before its restart: `journalctl -u goldline`.",
            queries=(Query("max by (instance, worker) (goldline_worker_up{STATION})", "{{instance}} {{worker}}"),),
            width=12,
            height=9,
            words={1: ("works", GOOD), 0: ("away", BAD)},
            alert="GoldlineWorkerDown",
        ),
        Panel(
            title="Restarts",
            kind="table",
            unit="short",
            shows="How often a process died while the board's time ran, and how. Parts in hand became ERROR(worker_crash).",
            good="an empty table.",
            act="Four in ten minutes are a fault that stays: the log before each. stall: it hung and was killed.",
            queries=(Query(f"sum by (instance, worker, cause) {counted(RESTARTS, WHOLE)} > 0", "times"),),
            width=6,
            height=9,
            steps=((None, CARE),),
            alert="GoldlineWorkerRestarted",
        ),
        Panel(
            title="Configuration in force",
            kind="table",
            unit="none",
            shows="Version, how many configurations were in force since the start, reloads applied and rejected.",
            good="one version on the line; no reload rejected.",
            act="`goldline reload --dry-run` says what a rejected configuration has wrong. The one before stays in force.",
            queries=(
                Query("max by (instance, version) (goldline_build_info{STATION})", ""),
                Query("max by (instance) (goldline_configuration_generation{STATION})", "generation"),
                Query(
                    f'sum by (instance) (increase(goldline_reload_total{{STATION, outcome="applied"}}[{WHOLE}]))',
                    "applied",
                ),
                Query(
                    f'sum by (instance) (increase(goldline_reload_total{{STATION, outcome="rejected"}}[{WHOLE}]))',
                    "rejected",
                ),
            ),
            width=6,
            height=9,
            steps=((None, CALM),),
            alert="GoldlineReloadRejected",
        ),
    ),
)
