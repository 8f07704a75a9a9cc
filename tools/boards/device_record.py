"""The Device board's middle: the record, and those who read it."""

from tools.boards.panel import (
    BAD,
    GOOD,
    WINDOW,
    Panel,
    Query,
    Row,
    counted,
    quantile,
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
                Query("max by (instance) (goldline_fleet_waiting_events{STATION})", "of these in NATS {{instance}}"),
            ),
            alert="GoldlineFleetBehind",
        ),
    ),
)
