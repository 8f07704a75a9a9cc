"""Every metric of the station, documented once, by the role that feeds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edge.camera_state import CameraState
from edge.records import Outcome, Reason

Kind = Literal["counter", "gauge", "histogram"]

# From the cheapest stage to the default deadline of 1 s, densest around a budget of 20 ms.
SECONDS = (0.001, 0.002, 0.005, 0.008, 0.01, 0.012, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0)
# An outbox commit takes 10 us unflushed, 4 ms flushed, and up to a second on a worn card.
COMMIT_SECONDS = (0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
# The sizes batches are padded to.
BATCH_SIZES = (1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One row of the table. `labels` gives each label's closed set; None is known only at start (cameras, workers).

    `lapses`: a gauge that is a lie once its writer is dead; the supervisor then calls `Page.lapse`.
    """

    name: str
    kind: Kind
    help: str
    labels: Mapping[str, tuple[str, ...] | None]
    buckets: tuple[float, ...] = ()
    lapses: bool = False

    @property
    def words(self) -> int:
        """Float64 values that one series takes."""
        return len(self.buckets) + 2 if self.kind == "histogram" else 1


def _counter(name: str, text: str, **labels: tuple[str, ...] | None) -> Metric:
    return Metric(name=f"goldline_{name}", kind="counter", help=text, labels=labels)


def _gauge(name: str, text: str, *, lapses: bool = False, **labels: tuple[str, ...] | None) -> Metric:
    return Metric(name=f"goldline_{name}", kind="gauge", help=text, labels=labels, lapses=lapses)


def _histogram(name: str, text: str, buckets: tuple[float, ...], **labels: tuple[str, ...] | None) -> Metric:
    return Metric(name=f"goldline_{name}", kind="histogram", help=text, labels=labels, buckets=buckets)


VERDICTS = tuple(str(outcome) for outcome in Outcome)
REASONS = tuple(str(reason) for reason in Reason)
# Besides the reasons of an ERROR, in free-running mode: a newer frame took its place, or its stream had just begun.
DROP_REASONS = (*REASONS, "superseded", "settling", "halted")
CAMERA_STATES = tuple(str(state) for state in CameraState)
RECONNECT_CAUSES = ("absent", "busy", "config", "lost", "stalled", "frozen", "restarted")
RESTART_CAUSES = ("exit", "signal", "stall")
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
PREPARE_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)
PREPARES_REFUSED = ("problem", "time-out")
# Why a picture that was wanted is not kept (`picture_keeper.py`, `archive_writer.py`), and what keeping one may take.
UNKEPT_BY_INSPECTION = ("away", "full", "late", "size", "no_region", "torn")
UNKEPT_BY_ARCHIVE = ("disk", "full", "torn")
KEEP_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
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
        _counter("errors_total", "ERROR verdicts, by reason.", camera=None, reason=REASONS),
        _gauge("triggers_in_flight", "Triggers accepted and not closed yet.", camera=None),
        _counter("deadline_missed_total", "Verdicts that came after their deadline.", camera=None),
        _histogram("capture_to_event_seconds", "From last frame complete to event committed.", SECONDS, camera=None),
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
        _counter("frames_dropped_total", DROPPED, camera=None, stage=("camera",), reason=("lost",)),
        _counter("frames_dropped_total", DROPPED, camera=None, stage=("capture",), reason=DROP_REASONS),
        _gauge("camera_up", "1 while the camera streams.", camera=None, lapses=True),
        _gauge("camera_state", "1 for the state that the camera is in.", lapses=True, camera=None, state=CAMERA_STATES),
        _counter("camera_reconnects_total", "Times it was opened again.", camera=None, cause=RECONNECT_CAUSES),
        _counter("camera_incomplete_frames_total", "Frames with missing data.", camera=None),
        _gauge("camera_last_frame_timestamp_seconds", "Unix time of the newest complete frame.", camera=None),
        _gauge("ring_slots", "Slots of the camera's ring, by who has them.", camera=None, state=("free", "lent")),
    ),
    "inspection": (
        _counter("frames_judged_total", "Frames that judge decided on. A shot is `camera.shot`.", camera=None),
        _counter("frames_torn_total", "Frames that were overwritten while they were read.", camera=None),
        _counter("frames_dropped_total", DROPPED, camera=None, stage=("inspection",), reason=DROP_REASONS),
        _gauge("engine_fallback", "1 where the CPU stands in for the accelerator that was asked for.", lapses=True),
        _gauge("drift_ks_distance", "Of the newest 200 passed parts from teach's good ones.", lapses=True, camera=None),
        _gauge("drift_log10_evidence", "For passed parts having changed; alarm from 7 on.", lapses=True, camera=None),
        _gauge("drift_trend_spreads", "Mean beside the goods'; alarm at 4.", lapses=True, camera=None, quantity=TRENDS),
        _gauge("drift_alarm", "1 while this kind of drift is reported.", lapses=True, camera=None, kind=ALARMS),
        _counter("drift_alarms_total", "Times it began to be reported.", camera=None, kind=ALARMS),
        _histogram("prepare_seconds", "From an order to prepare a product to judging by it.", PREPARE_SECONDS),
        _counter("prepares_refused_total", "Products ordered that are not judged by.", reason=PREPARES_REFUSED),
        _histogram("batch_size", "Frames in one run of the graph.", BATCH_SIZES),
        _histogram("stage_duration_seconds", "A frame's time in each stage.", SECONDS, camera=None, stage=STAGES),
        _counter("pictures_handed_total", "Pictures handed to the archive."),
        _counter("pictures_dropped_total", UNKEPT, stage=("inspection",), reason=UNKEPT_BY_INSPECTION),
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
        _counter("sync_errors_total", "Requests that were refused.", code=SYNC_CODES),
        _counter("sync_unsent_total", "Answers let go: their reader does not read, or has gone."),
        _counter("sync_peers_refused_total", "Connections to SYNC whose key is not on the list."),
        _gauge("sync_waiting", "Readers that wait for news.", lapses=True),
    ),
    "archive": (
        _counter("pictures_written_total", "Pictures written to the disk."),
        _counter("pictures_pruned_total", "Pictures removed for want of room, or by age."),
        _counter("pictures_dropped_total", UNKEPT, stage=("archive",), reason=UNKEPT_BY_ARCHIVE),
        _gauge("archive_bytes", "What the pictures that are kept take on disk, with what was said about them."),
        _gauge("archive_pictures", "Pictures that are kept; one for each view of each trigger."),
        _gauge("archive_failing", "1 while pictures are lost because the disk refuses them or hangs.", lapses=True),
    ),
    "supervisor": (
        _gauge("worker_up", "1 while the worker is past its start and inside its deadline.", worker=None),
        _counter("worker_restarts_total", "Times it was started again, by cause.", worker=None, cause=RESTART_CAUSES),
        _gauge("worker_heartbeat_age_seconds", "Time since the worker's main loop last came round.", worker=None),
        _gauge("worker_resident_memory_bytes", "Resident memory.", worker=None),
        _gauge("worker_open_fds", "Open file descriptors.", worker=None),
        _gauge("build_info", "Always 1; the version is a label.", version=None),
    ),
}
