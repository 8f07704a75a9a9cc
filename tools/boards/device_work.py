"""The Device board's upper half: has it room, where a frame's time goes, the record, and those who read it."""

from tools.boards.panel import (
    BAD,
    CALM,
    CARE,
    GOOD,
    WHOLE,
    WINDOW,
    Panel,
    Query,
    Row,
    counted,
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
            act="Pictures are let go first, then events; triggers are refused last. `goldline images` says what pictures take.",
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

RECORD = Row(
    "The record and those who read it",
    (
        Panel(
            title="From picture to event",
            kind="lines",
            unit="s",
            shows="From the last frame complete to its event committed: half and 99 % of the parts are as fast.",
            good="the deadline is not touched by it; below 0.1 s readers notice nothing.",
            act="The disk: see *Committing*. Verdicts to the PLC do not wait for it.",
            queries=(
                Query(quantile(0.5, "goldline_capture_to_event_seconds", "STATION"), "half"),
                Query(quantile(0.99, "goldline_capture_to_event_seconds", "STATION"), "99 %"),
            ),
        ),
        Panel(
            title="Committing to the outbox",
            kind="lines",
            unit="s",
            shows="Duration of a commit to disk: half and 99 % of them are as fast.",
            good="below 10 ms.",
            act="A slow card or a disk that is shared. Hundreds of ms: the disk is wearing out.",
            queries=(
                Query(quantile(0.5, "goldline_outbox_commit_seconds", "STATION"), "half"),
                Query(quantile(0.99, "goldline_outbox_commit_seconds", "STATION"), "99 %"),
            ),
        ),
        Panel(
            title="Events a second",
            kind="lines",
            unit="cps",
            shows="Events written, removed by age or for want of room, and sent again to readers that were away.",
            good="written: one for each part. Removed: the same, once the record is full.",
            act="Sent again all the time: a reader loses its connection, see *Readers and keys*.",
            queries=(
                Query(f"sum(rate(goldline_events_written_total{{STATION}}[{WINDOW}]))", "written"),
                Query(f"sum(rate(goldline_outbox_pruned_total{{STATION}}[{WINDOW}]))", "removed"),
                Query(f"sum(rate(goldline_sync_events_total{{STATION}}[{WINDOW}]))", "sent again"),
            ),
        ),
        Panel(
            title="What the record keeps",
            kind="table",
            unit="none",
            shows="Newest event, what the events take on disk, and how old the oldest is.",
            good="the oldest is as old as `outbox.keep` asks.",
            act="A short history: more room for it in config.toml, or a larger disk.",
            queries=(
                Query("max by (instance) (goldline_outbox_head_sequence{STATION})", "newest event"),
                Query("max by (instance) (goldline_outbox_bytes{STATION})", "bytes"),
                Query(
                    "max by (instance) ((goldline_outbox_oldest_timestamp_seconds{STATION} > 0) * 1000)", "oldest event"
                ),
            ),
            units={"bytes": "bytes", "oldest event": "dateTimeFromNow", "newest event": "none"},
        ),
        Panel(
            title="Alarms of the record",
            kind="states",
            unit="none",
            shows="What is wrong with the outbox, and whether pictures are lost.",
            good="green all along.",
            act="disk_full, disk_failed: the disk. unacknowledged: a consumer. outbox_behind: the disk is too slow.",
            queries=(
                Query("max by (alarm) (goldline_outbox_alarm{STATION})", "{{alarm}}"),
                Query("max(goldline_archive_failing{STATION})", "pictures lost"),
            ),
            words={0: ("well", GOOD), 1: ("alarm", BAD)},
            alert="GoldlineRecord",
        ),
        Panel(
            title="Events lost to somebody",
            kind="bars",
            unit="short",
            shows="Events removed that a consumer had not acknowledged, let go because the disk could not be written, or too "
            "large for a broker; and readers told that what they ask for is gone.",
            good="none.",
            act="`goldline outbox status` names the consumer; docs/outbox.md how long the record must be.",
            queries=(
                Query(
                    f"sum(increase(goldline_outbox_pruned_unacknowledged_total{{STATION}}[{WINDOW}]))", "unacknowledged"
                ),
                Query(f"sum(increase(goldline_outbox_unkept_total{{STATION}}[{WINDOW}]))", "disk"),
                Query(f"sum(increase(goldline_sync_gone_total{{STATION}}[{WINDOW}]))", "gone"),
                Query(f"sum(increase(goldline_mqtt_too_large_total{{STATION}}[{WINDOW}]))", "MQTT too large"),
                Query(f"sum(increase(goldline_fleet_too_large_total{{STATION}}[{WINDOW}]))", "fleet too large"),
            ),
        ),
        Panel(
            title="Readers and keys",
            kind="bars",
            unit="short",
            shows="Connections refused for their key, requests refused, answers that nobody took.",
            good="none.",
            act="A key that is not on the list: `goldline keys list`. Anything on a quiet network is worth a look.",
            queries=(
                Query(f"sum by (zone) (increase(goldline_peers_refused_total{{STATION}}[{WINDOW}]))", "key {{zone}}"),
                Query(f"sum(increase(goldline_sync_peers_refused_total{{STATION}}[{WINDOW}]))", "key sync"),
                Query(f"sum(increase(goldline_sync_unsent_total{{STATION}}[{WINDOW}]))", "unsent"),
                Query(
                    f"sum by (code) {counted('goldline_sync_errors_total{STATION}', WINDOW)} or vector(0)",
                    "refused {{code}}",
                ),
            ),
        ),
        Panel(
            title="Requests to SYNC",
            kind="lines",
            unit="reqps",
            shows="Requests a second by verb, and readers that wait for news.",
            good="a handful for each reader.",
            act="hello again and again: a reader that starts over; its own log says why.",
            queries=(
                Query(f"sum by (verb) (rate(goldline_sync_requests_total{{STATION}}[{WINDOW}]))", "{{verb}}"),
                Query("sum(goldline_sync_waiting{STATION})", "waiting readers"),
            ),
        ),
        Panel(
            title="Behind: broker and hub",
            kind="lines",
            unit="short",
            shows="Events that the MQTT broker, and the fleet's hub, have not acknowledged yet.",
            good="near 0; after a cut it falls back by itself.",
            act="Rising for half an hour: can the device reach it? The device keeps the events.",
            queries=(
                Query(
                    "max by (instance) (goldline_outbox_head_sequence{STATION}) "
                    "- max by (instance) (goldline_mqtt_acknowledged_sequence{STATION})",
                    "MQTT {{instance}}",
                ),
                Query(
                    "max by (instance) (goldline_outbox_head_sequence{STATION}) "
                    "- max by (instance) (goldline_fleet_acknowledged_sequence{STATION})",
                    "hub {{instance}}",
                ),
            ),
            alert="GoldlineFleetBehind",
        ),
    ),
)
