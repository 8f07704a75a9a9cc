"""Every metric of the station, documented once, by the role that feeds it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from edge.camera_state import CameraState
from edge.records import Outcome, Reason

Kind = Literal["counter", "gauge", "histogram"]

# A deadline is its milliseconds turned into these, as the ledger counts them: then no rounding parts the two.
NS_PER_MS, NS_PER_S = 1e6, 1e9
# From the cheapest stage to the default deadline of 1 s, densest around a budget of 20 ms.
SECONDS = (0.001, 0.002, 0.005, 0.008, 0.01, 0.012, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0)
# An outbox commit takes 10 us unflushed, 4 ms flushed, and up to a second on a worn card.
COMMIT_SECONDS = (0.0001, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0)
# Once for each stage: so fine as to tell which of them grew.
STAGE_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
# Once for each camera; what matters most is the bucket at its deadline, which comes on top.
ANSWER_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
# 1 is the limit: how near good parts come to it, and how far beyond it bad ones are.
SCORE_RATIOS = (0.5, 0.8, 1.0, 1.25, 1.5, 2.0)
# The sizes batches are padded to.
BATCH_SIZES = (1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One row of the table. `labels` gives each label's closed set; None is known only at start (cameras, workers).

    `lapses`: a gauge that is a lie once its writer is dead; the supervisor then calls `Page.lapse`. `has_deadlines`: a
    histogram with a bucket at each of the station's deadlines besides `buckets`. `tells_why`: a counter that breaks
    down another by cause; a series of it is shown once it has counted (docs/decisions/0047-a-budget-of-series.md).
    """

    name: str
    kind: Kind
    help: str
    labels: Mapping[str, tuple[str, ...] | None]
    buckets: tuple[float, ...] = ()
    lapses: bool = False
    has_deadlines: bool = False
    tells_why: bool = False

    @property
    def words(self) -> int:
        """Float64 values that one series takes."""
        return len(self.buckets) + 2 if self.kind == "histogram" else 1

    def at(self, deadlines_s: Iterable[float]) -> "Metric":
        """The row for a station with these deadlines."""
        if not self.has_deadlines:
            return self
        return replace(self, buckets=tuple(sorted({*self.buckets, *deadlines_s})))


def _counter(name: str, text: str, **labels: tuple[str, ...] | None) -> Metric:
    return Metric(name=f"goldline_{name}", kind="counter", help=text, labels=labels)


def _why(name: str, text: str, **labels: tuple[str, ...] | None) -> Metric:
    return Metric(name=f"goldline_{name}", kind="counter", help=text, labels=labels, tells_why=True)


def _gauge(name: str, text: str, *, lapses: bool = False, **labels: tuple[str, ...] | None) -> Metric:
    return Metric(name=f"goldline_{name}", kind="gauge", help=text, labels=labels, lapses=lapses)


def _histogram(name: str, text: str, buckets: tuple[float, ...], **labels: tuple[str, ...] | None) -> Metric:
    return Metric(name=f"goldline_{name}", kind="histogram", help=text, labels=labels, buckets=buckets)


def _timed(name: str, text: str, buckets: tuple[float, ...], **labels: tuple[str, ...] | None) -> Metric:
    return replace(_histogram(name, text, buckets, **labels), has_deadlines=True)


VERDICTS = tuple(str(outcome) for outcome in Outcome)
REASONS = tuple(str(reason) for reason in Reason)
# Why capture lets a frame go. Besides reasons of an ERROR: a newer frame took its place, its stream had just begun, the
# station takes none now.
CAPTURE_DROPS = (
    *("camera_down", "no_slot", "overrun", "incomplete", "stale", "frozen", "missing_view", "worker_crash", "shutdown"),
    *("superseded", "settling", "halted"),
)
INSPECTION_DROPS = ("deadline", "cannot_judge", "torn")
CAMERA_STATES = tuple(str(state) for state in CameraState)
RECONNECT_CAUSES = ("absent", "busy", "config", "lost", "stalled", "frozen", "restarted")
RESTART_CAUSES = ("exit", "signal", "stall")
RELOAD_OUTCOMES = ("applied", "rejected")
CPU_MODES = ("user", "system", "iowait", "steal", "idle")
# The directories that a station writes; the name of each, not its path.
DIRECTORIES = ("state", "archive")
# What a client's key is good for.
ZONES = ("events", "orders")
STAGES = ("queue", "register", "graph", "judge")
# What drifts, and the alarms about it (`drift.py`).
TRENDS = ("dx_px", "dy_px", "angle_deg", "gain", "sharpness")
ALARMS = ("appearance", "pose", "gain", "sharpness")
# What is asked of SYNC, and why it is refused (`sync_protocol.py`).
SYNC_VERBS = ("hello", "fetch", "ack")
SYNC_CODES = ("request", "version", "stream", "consumer", "busy", "unavailable")
# What may be wrong with the record (`outbox_health.py`), and what the ledger never lets be.
OUTBOX_ALARMS = ("disk_full", "disk_failed", "outbox_set_aside", "unacknowledged", "outbox_behind")
VIOLATIONS = ("unbalanced", "second_decision", "unknown_trigger", "pass_without_frame")
# What becomes of an order of an OPC UA client; unanswered: it may have been carried out.
LANE_ORDERS = ("accepted", "refused", "unanswered")
# Loading a product takes from half a second to minutes (`judging.py`). A problem: it cannot be judged by.
PREPARE_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0)
PREPARES_REFUSED = ("problem", "time-out")
# Why a picture that was wanted is not kept (`picture_keeper.py`, `archive_writer.py`), and what keeping one may take.
UNKEPT_BY_INSPECTION = ("away", "full", "late", "size", "no_region", "torn")
UNKEPT_BY_ARCHIVE = ("disk", "full", "torn")
KEEP_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
UNKEPT = "Pictures that were to be kept and are not, by where they were dropped and why."
DROPPED = "Frames that were never judged, by the stage that dropped them and why."

# Of lanes that PLCs connect to.
_SERVED = (
    _counter("lane_results_total", "Results that the lane took in, those let go included.", lane=None),
    _gauge("lane_connections", "Clients that are connected.", lapses=True, lane=None),
    _counter("lane_connections_refused_total", "Clients that were not let in.", lane=None),
)

# By the role that feeds them; a lane has besides the role's what stands under its own name. A metric fed by two roles
# has the same kind, help and label names in both.
METRICS: dict[str, tuple[Metric, ...]] = {
    "publish": (
        _counter("triggers_total", "Triggers accepted, of a camera or of a group that sees one part.", camera=None),
        _counter("verdicts_total", "Triggers closed, by verdict.", camera=None, verdict=VERDICTS),
        _why("errors_total", "ERROR verdicts, by reason.", camera=None, reason=REASONS),
        _gauge("triggers_in_flight", "Triggers accepted and not closed yet.", camera=None),
        _counter("deadline_missed_total", "Verdicts that came after their deadline.", camera=None),
        _counter("reviews_total", "FAIL verdicts between the two limits: false calls are among these.", camera=None),
        _gauge("deadline_seconds", "How long the line waits for an answer.", camera=None),
        _timed("answer_seconds", "From a trigger accepted to its verdict given.", ANSWER_SECONDS, camera=None),
        _timed("capture_to_event_seconds", "From last frame complete to event committed.", SECONDS),
        _counter("events_written_total", "Events committed to the outbox."),
        _histogram("outbox_commit_seconds", "Duration of an outbox commit.", COMMIT_SECONDS),
        _gauge("outbox_head_sequence", "Sequence number of the newest event in the outbox."),
        _gauge("outbox_low_sequence", "Sequence number of the oldest event that is kept; head + 1 where none is."),
        _gauge("outbox_bytes", "What the events that are kept take on disk."),
        _gauge("outbox_oldest_timestamp_seconds", "Unix time of the oldest event that is kept; 0 where none is."),
        _gauge("outbox_unacknowledged_events", "Events kept that the slowest consumer has not acknowledged."),
        _counter("outbox_pruned_total", "Events removed for want of room, or by age."),
        _counter("outbox_pruned_unacknowledged_total", "Of these, events that a consumer had not acknowledged."),
        _counter("outbox_unkept_total", "Events let go because the disk could not be written."),
        _gauge("outbox_disk_free_bytes", "Free on the file system of the outbox."),
        _gauge("outbox_alarm", "1 while this is wrong with the record.", lapses=True, alarm=OUTBOX_ALARMS),
        _counter("peers_refused_total", "Connections to LIVE and orders whose key is not on the list.", zone=ZONES),
        _counter("late_results_total", "Results for triggers that were closed without them."),
        _counter("invariant_violations_total", "What must never be, and was: never sent out.", kind=VIOLATIONS),
    ),
    "capture": (
        _counter("frames_captured_total", "Frames the camera delivered, complete or not.", camera=None),
        _counter("frames_handed_total", "Frames lent to inspection.", camera=None),
        # Lost: the camera's own counter shows a frame that never arrived.
        _why("frames_dropped_total", DROPPED, camera=None, stage=("camera",), reason=("lost",)),
        _why("frames_dropped_total", DROPPED, camera=None, stage=("capture",), reason=CAPTURE_DROPS),
        _gauge("camera_up", "1 while the camera streams.", camera=None, lapses=True),
        _gauge("camera_state", "1 for the state that the camera is in.", lapses=True, camera=None, state=CAMERA_STATES),
        _why("camera_reconnects_total", "Times it was opened again.", camera=None, cause=RECONNECT_CAUSES),
        _counter("camera_incomplete_frames_total", "Frames with missing data.", camera=None),
        _gauge("camera_last_frame_timestamp_seconds", "Unix time of the newest complete frame.", camera=None),
        _gauge("ring_slots", "Slots of the camera's ring, by who has them.", camera=None, state=("free", "lent")),
    ),
    "inspection": (
        _counter("frames_judged_total", "Frames that judge decided on. A shot is `camera.shot`.", camera=None),
        _why("frames_dropped_total", DROPPED, camera=None, stage=("inspection",), reason=INSPECTION_DROPS),
        _histogram(
            "score_ratio", "Scores of judged frames over their limit: 1 is the limit.", SCORE_RATIOS, camera=None
        ),
        _gauge("engine_fallback", "1 where the CPU stands in for the accelerator that was asked for.", lapses=True),
        _gauge("drift_ks_distance", "Of the newest 200 passed parts from teach's good ones.", lapses=True, camera=None),
        _gauge("drift_log10_evidence", "For passed parts having changed; alarm from 7 on.", lapses=True, camera=None),
        _gauge("drift_trend_spreads", "Mean beside the goods'; alarm at 4.", lapses=True, camera=None, quantity=TRENDS),
        _gauge("drift_alarm", "1 while this kind of drift is reported.", lapses=True, camera=None, kind=ALARMS),
        _why("drift_alarms_total", "Times it began to be reported.", camera=None, kind=ALARMS),
        _histogram("prepare_seconds", "From an order to prepare a product to judging by it.", PREPARE_SECONDS),
        _counter("prepares_refused_total", "Products ordered that are not judged by.", reason=PREPARES_REFUSED),
        _histogram("batch_size", "Frames in one run of the graph.", BATCH_SIZES),
        _histogram("stage_duration_seconds", "A frame's time in each stage.", STAGE_SECONDS, stage=STAGES),
        _counter("pictures_handed_total", "Pictures handed to the archive."),
        _why("pictures_dropped_total", UNKEPT, stage=("inspection",), reason=UNKEPT_BY_INSPECTION),
        _histogram("picture_keep_seconds", "What a verdict waited for its picture's copy and hash.", KEEP_SECONDS),
    ),
    "lane": (),
    "lane@modbus": (
        *_SERVED,
        _counter("lane_overruns_total", "Results let go: the PLC did not acknowledge those before.", lane=None),
        _counter("lane_missed_triggers_total", "Triggers by the PLC that were not accepted.", lane=None),
    ),
    "lane@opcua": (
        *_SERVED,
        _counter(
            "lane_orders_total", "Methods that were orders, by what became of them.", lane=None, outcome=LANE_ORDERS
        ),
        _gauge("lane_subscriptions", "Subscriptions of all clients.", lapses=True, lane=None),
        _counter("lane_repeated_results_total", "Results told again to clients that came back.", lane=None),
    ),
    "lane@mqtt": (
        _gauge("mqtt_connected", "1 while the broker takes what it is given.", lapses=True),
        _counter("mqtt_connections_total", "Times that the broker was connected."),
        _counter("mqtt_published_total", "Events given to the broker, repetitions included."),
        _gauge("mqtt_acknowledged_sequence", "Up to this number the broker has every event."),
        _counter("mqtt_too_large_total", "Messages passed over: the broker takes none so large."),
    ),
    "sync": (
        _counter("sync_requests_total", "Requests understood, by verb.", verb=SYNC_VERBS),
        _counter("sync_events_total", "Events sent again."),
        _counter("sync_gone_total", "Times a reader was told that events it asked for are not kept any more."),
        _why("sync_errors_total", "Requests that were refused.", code=SYNC_CODES),
        _counter("sync_unsent_total", "Answers let go: their reader does not read, or has gone."),
        _counter("sync_peers_refused_total", "Connections to SYNC whose key is not on the list."),
        _gauge("sync_waiting", "Readers that wait for news.", lapses=True),
    ),
    "uplink": (
        _gauge("fleet_connected", "1 while the NATS server of this device takes what it is given.", lapses=True),
        _counter("fleet_connections_total", "Times that it was connected."),
        _counter("fleet_published_total", "Events given to it, repetitions included."),
        _gauge("fleet_published_sequence", "Up to this number it has every event, on its disk."),
        _gauge("fleet_acknowledged_sequence", "Up to this number the hub has every event."),
        _gauge("fleet_waiting_events", "Events that it holds and the hub has not got.", lapses=True),
        _counter("fleet_refused_total", "Times that it took no more: it is full, or its disk refuses."),
        _counter("fleet_too_large_total", "Events passed over: it takes none so large."),
    ),
    "archive": (
        _counter("pictures_written_total", "Pictures written to the disk."),
        _counter("pictures_pruned_total", "Pictures removed for want of room, or by age."),
        _why("pictures_dropped_total", UNKEPT, stage=("archive",), reason=UNKEPT_BY_ARCHIVE),
        _gauge("archive_bytes", "What the pictures that are kept take on disk, with what was said about them."),
        _gauge("archive_pictures", "Pictures that are kept; one for each view of each trigger."),
        _gauge("archive_failing", "1 while pictures are lost because the disk refuses them or hangs.", lapses=True),
    ),
    "supervisor": (
        _gauge("worker_up", "1 while the worker is past its start and inside its deadline.", worker=None),
        _why("worker_restarts_total", "Times it was started again, by cause.", worker=None, cause=RESTART_CAUSES),
        _gauge("worker_heartbeat_age_seconds", "Time since the worker's main loop last came round.", worker=None),
        _gauge("worker_resident_memory_bytes", "Resident memory, shared pages included.", worker=None),
        _gauge("worker_open_fds", "Open file descriptors.", worker=None),
        _gauge("worker_threads", "Threads.", worker=None),
        _counter("worker_cpu_seconds_total", "Time on a processor, as read at scrapes.", worker=None),
        _gauge("configuration_generation", "Counts the configurations that were in force since the start."),
        _counter("reload_total", "Reloads of the configuration, by what became of them.", outcome=RELOAD_OUTCOMES),
        _gauge("build_info", "Always 1; the version is a label.", version=None),
    ),
    # What the supervisor reads of the machine, every few seconds; what cannot be read is absent.
    "device": (
        _counter("device_cpu_seconds_total", "Time of all processors together.", mode=CPU_MODES),
        _gauge("device_memory_available_bytes", "Memory that could be had without swapping."),
        _gauge("device_memory_total_bytes", "Memory of the device."),
        _gauge("device_disk_free_bytes", "Free for the station on the file system it is on.", directory=DIRECTORIES),
        _gauge("device_disk_size_bytes", "Size of that file system.", directory=DIRECTORIES),
        _gauge("device_temperature_celsius", "What a sensor of the machine says.", sensor=None),
        _gauge("device_temperature_limit_celsius", "Where the machine stops itself; not all tell.", sensor=None),
        _gauge("device_reading_age_seconds", "Since this was last read; it grows where a disk hangs.", source=None),
        _gauge("gpu_utilization_ratio", "Share of the time that it computes.", gpu=None),
        _gauge("gpu_memory_used_bytes", "Its own memory in use.", gpu=None),
        _gauge("gpu_memory_total_bytes", "Its own memory.", gpu=None),
        _gauge("gpu_temperature_celsius", "Temperature of the chip.", gpu=None),
        _gauge("gpu_power_watts", "What it draws.", gpu=None),
    ),
}
# Every row by its name; one that two roles feed stands here once.
ROWS: dict[str, Metric] = {metric.name: metric for metrics in METRICS.values() for metric in metrics}
