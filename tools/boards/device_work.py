"""The Device board's upper half: has it room, and where a frame's time goes."""

from tools.boards.panel import (
    BAD,
    CARE,
    GOOD,
    WHOLE,
    WINDOW,
    Panel,
    Query,
    Row,
    quantile,
)

FREE_SHARE = "goldline_device_disk_free_bytes{STATION} / goldline_device_disk_size_bytes{STATION}"
MEMORY_SHARE = "goldline_device_memory_available_bytes{STATION} / goldline_device_memory_total_bytes{STATION}"
CPU = "goldline_device_cpu_seconds_total"

ROOM = Row(
    "Has it room?",
    (
        Panel(
            title="Processors busy",
            kind="stat",
            unit="percentunit",
            shows="Share of all processors' time that is not idle, of the busiest device.",
            good="below 80 %: a burst of parts has room.",
            act="*Processor time by worker* says whose it is; what is in no worker is other work on the device.",
            queries=(
                Query(
                    f'max(1 - sum by (instance) (rate({CPU}{{STATION, mode="idle"}}[{WINDOW}])) '
                    f"/ sum by (instance) (rate({CPU}{{STATION}}[{WINDOW}])))",
                    "busy",
                ),
            ),
            width=4,
            height=4,
            steps=((None, GOOD), (0.8, CARE), (0.95, BAD)),
        ),
        Panel(
            title="Memory left",
            kind="stat",
            unit="percentunit",
            shows="Share of the memory that could be had without swapping, of the fullest device.",
            good="above 20 %.",
            act="*Memory by worker*: one that grows for days is a fault to report. Below 5 % the kernel ends processes.",
            queries=(Query(f"min({MEMORY_SHARE})", "left"),),
            width=4,
            height=4,
            steps=((None, BAD), (0.05, CARE), (0.2, GOOD)),
            alert="GoldlineMemoryLow",
        ),
        Panel(
            title="Disk left",
            kind="stat",
            unit="percentunit",
            shows="Share that is free, of the fullest file system that a station writes.",
            good="above 20 %.",
            act="Pictures are let go first, then events; triggers are refused last. `goldline images list` says what pictures take.",
            queries=(Query(f"min({FREE_SHARE})", "left"),),
            width=4,
            height=4,
            steps=((None, BAD), (0.1, CARE), (0.2, GOOD)),
            alert="GoldlineDiskLow",
        ),
        Panel(
            title="Events not acknowledged",
            kind="stat",
            unit="short",
            shows="Events that the slowest consumer of the record has not acknowledged.",
            good="falling back to nearly 0, again and again.",
            act="`goldline outbox status` names the consumer. The oldest events go when the record is full.",
            queries=(Query("max(goldline_outbox_unacknowledged_events{STATION})", "waiting"),),
            width=4,
            height=4,
            steps=((None, GOOD), (1000, CARE), (100000, BAD)),
            alert="GoldlineUnacknowledged",
        ),
        Panel(
            title="Wrong with the record",
            kind="stat",
            unit="none",
            shows="Alarms of the outbox and of the picture archive, and ledger invariants violated.",
            good="0.",
            act="*Alarms of the record* names it. Triggers are answered all the same.",
            queries=(
                Query(
                    "sum(goldline_outbox_alarm{STATION}) + sum(goldline_archive_failing{STATION} or vector(0))"
                    f" + sum(increase(goldline_invariant_violations_total{{STATION}}[{WHOLE}]))",
                    "alarms",
                ),
            ),
            width=4,
            height=4,
            steps=((None, GOOD), (1, BAD)),
            alert="GoldlineRecord",
        ),
        Panel(
            title="CPU stands in",
            kind="stat",
            unit="none",
            shows="Stations where the CPU stands in for the accelerator that was asked for.",
            good="0.",
            act="`goldline doctor` says why the accelerator did not run. Verdicts are right and slower.",
            queries=(Query("sum(goldline_engine_fallback{STATION})", "stations"),),
            width=4,
            height=4,
            steps=((None, GOOD), (1, BAD)),
            alert="GoldlineEngineFallback",
        ),
    ),
)

STAGES = Row(
    "Where a frame's time goes",
    (
        Panel(
            title="Time in each stage, 95 %",
            kind="lines",
            unit="s",
            shows="95th percentile of a frame's time in each stage of inspection.",
            good="the graph is the longest; the queue is near nothing.",
            act="queue: frames come faster than they are judged. graph: the model or its accelerator. register: the pose's reach.",
            queries=(Query(quantile(0.95, "goldline_stage_duration_seconds", "STATION", "stage"), "{{stage}}"),),
        ),
        Panel(
            title="Mean time in each stage",
            kind="areas",
            unit="s",
            shows="Mean time of a frame in each stage, stacked: together what a frame takes.",
            good="level.",
            act="The stage that grew is the one to look at.",
            queries=(
                Query(
                    f"sum by (stage) (rate(goldline_stage_duration_seconds_sum{{STATION}}[{WINDOW}])) "
                    f"/ sum by (stage) (rate(goldline_stage_duration_seconds_count{{STATION}}[{WINDOW}]))",
                    "{{stage}}",
                ),
            ),
        ),
        Panel(
            title="Sizes of batches",
            kind="heatmap",
            unit="none",
            shows="Runs of the graph by how many frames they took together.",
            good="as many as there are cameras that fire together.",
            act="Only ones, with a long queue: frames do not come together, or the deadline leaves no time to wait.",
            queries=(Query(f"sum by (le) (increase(goldline_batch_size_bucket{{STATION}}[{WINDOW}]))", "{{le}}"),),
        ),
        Panel(
            title="Queues: triggers in flight",
            kind="lines",
            unit="short",
            shows="Triggers accepted and not answered yet.",
            good="a few, falling to 0.",
            act="One camera that stays high waits for pictures; all of them wait for inspection.",
            queries=(
                Query("sum by (instance, camera) (goldline_triggers_in_flight{STATION})", "{{instance}} {{camera}}"),
            ),
        ),
        Panel(
            title="Ring: slots lent",
            kind="lines",
            unit="short",
            shows="Picture slots of each camera that capture or inspection hold.",
            good="one or two.",
            act="All of them: inspection does not keep up, or hangs. New triggers become ERROR(no_slot).",
            queries=(
                Query(
                    'sum by (instance, camera) (goldline_ring_slots{STATION, state="lent"})', "{{instance}} {{camera}}"
                ),
            ),
        ),
        Panel(
            title="Frames lent and judged",
            kind="lines",
            unit="cps",
            shows="Frames a second that went to inspection, and that came back decided.",
            good="the two lie on each other.",
            act="Fewer judged: *Frames never judged* on the Line board has the reason.",
            queries=(
                Query(
                    f"sum by (instance) (rate(goldline_frames_handed_total{{STATION}}[{WINDOW}]))", "lent {{instance}}"
                ),
                Query(
                    f"sum by (instance) (rate(goldline_frames_judged_total{{STATION}}[{WINDOW}]))",
                    "judged {{instance}}",
                ),
            ),
        ),
    ),
)
