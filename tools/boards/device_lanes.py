"""The Device board's middle: lanes to PLCs and brokers, and pictures."""

from tools.boards.panel import BAD, GOOD, WHOLE, WINDOW, Panel, Query, Row, counted, quantile

UNKEPT = "goldline_pictures_dropped_total{STATION}"

LANES = Row(
    "Lanes to PLCs and brokers",
    (
        Panel(
            title="Lanes connected",
            kind="table",
            unit="none",
            shows="Clients on each lane, clients refused and results given while the board's time ran.",
            good="each PLC is there; nobody is refused.",
            act="0 clients: the PLC's own connection status, then the cable. Refused: docs/plc.md and docs/opcua.md say who may.",
            queries=(
                Query("sum by (instance, lane) (goldline_lane_connections{STATION})", "clients"),
                Query(
                    f"sum by (instance, lane) (increase(goldline_lane_connections_refused_total{{STATION}}[{WHOLE}]))",
                    "refused",
                ),
                Query(
                    f"sum by (instance, lane) (increase(goldline_lane_results_total{{STATION}}[{WHOLE}]))", "results"
                ),
            ),
        ),
        Panel(
            title="Broker and fleet connected",
            kind="states",
            unit="none",
            shows="Whether the MQTT broker and this device's own NATS server take what they are given.",
            good="green all along.",
            act="Events wait in the outbox and follow later. Is the broker up; for the fleet: `systemctl status goldline-nats`.",
            queries=(
                Query("max by (instance) (goldline_mqtt_connected{STATION})", "MQTT {{instance}}"),
                Query("max by (instance) (goldline_fleet_connected{STATION})", "fleet {{instance}}"),
            ),
            words={1: ("connected", GOOD), 0: ("away", BAD)},
            alert="GoldlineMqttDown",
        ),
        Panel(
            title="What lanes could not give or take",
            kind="bars",
            unit="short",
            shows="Results let go because the PLC did not acknowledge those before, PLC triggers not accepted, orders of OPC "
            "UA clients that were refused or not answered, and times that the NATS server took no more.",
            good="none.",
            act="Overruns: no PLC is connected, or its program does not cycle its acknowledge bit: docs/plc.md.",
            queries=(
                Query(
                    f"sum by (lane) (increase(goldline_lane_overruns_total{{STATION}}[{WINDOW}]))", "overrun {{lane}}"
                ),
                Query(
                    f"sum by (lane) (increase(goldline_lane_missed_triggers_total{{STATION}}[{WINDOW}]))",
                    "not accepted {{lane}}",
                ),
                Query(
                    f'sum by (outcome) (increase(goldline_lane_orders_total{{STATION, outcome!="accepted"}}[{WINDOW}]))',
                    "order {{outcome}}",
                ),
                Query(f"sum(increase(goldline_fleet_refused_total{{STATION}}[{WINDOW}]))", "NATS took no more"),
            ),
        ),
    ),
)

PICTURES = Row(
    "Pictures",
    (
        Panel(
            title="Pictures a second",
            kind="lines",
            unit="cps",
            shows="Pictures handed to the archive, written, and removed by age or for want of room.",
            good="written as many as handed.",
            act="Fewer written: *Pictures not kept* says why.",
            queries=(
                Query(f"sum(rate(goldline_pictures_handed_total{{STATION}}[{WINDOW}]))", "handed"),
                Query(f"sum(rate(goldline_pictures_written_total{{STATION}}[{WINDOW}]))", "written"),
                Query(f"sum(rate(goldline_pictures_pruned_total{{STATION}}[{WINDOW}]))", "removed"),
            ),
        ),
        Panel(
            title="Pictures not kept",
            kind="bars",
            unit="short",
            shows="Pictures that were to be kept and are not, by where they were let go and why.",
            good="none, or few in a burst: the archive may lose, it never delays a verdict.",
            act="full: the disk is slower than the pictures. disk: it refuses them. late: their verdict would have waited.",
            queries=(Query(f"sum by (stage, reason) {counted(UNKEPT, WINDOW)} or vector(0)", "{{stage}} {{reason}}"),),
            alert="GoldlinePicturesLost",
        ),
        Panel(
            title="What a picture costs its verdict",
            kind="lines",
            unit="s",
            shows="What a verdict waited for its picture's copy and hash.",
            good="below 5 ms.",
            act="Large pictures: keep fewer of them (`[archive]`), or only those that fail.",
            queries=(
                Query(quantile(0.5, "goldline_picture_keep_seconds", "STATION"), "half"),
                Query(quantile(0.99, "goldline_picture_keep_seconds", "STATION"), "99 %"),
            ),
        ),
        Panel(
            title="Pictures kept",
            kind="stat",
            unit="short",
            shows="Pictures in the archive.",
            good="as many as its limits allow.",
            act="`goldline images list` says how far back they go.",
            queries=(Query("sum(goldline_archive_pictures{STATION})", "pictures"),),
            width=4,
            height=4,
        ),
        Panel(
            title="What pictures take",
            kind="stat",
            unit="bytes",
            shows="What the pictures and what was said about them take on disk.",
            good="below the limit in `[archive]`, where it stays.",
            act="The limit is what to change.",
            queries=(Query("sum(goldline_archive_bytes{STATION})", "bytes"),),
            width=4,
            height=4,
        ),
        Panel(
            title="Loading a product",
            kind="table",
            unit="none",
            shows="Products prepared while the board's time ran, the mean time that took, and products that cannot be judged by.",
            good="none refused.",
            act="problem: `goldline check` names it. time-out: the device is too busy to load it.",
            queries=(
                Query(f"sum by (instance) (increase(goldline_prepare_seconds_count{{STATION}}[{WHOLE}]))", "prepared"),
                Query(
                    f"sum by (instance) (increase(goldline_prepare_seconds_sum{{STATION}}[{WHOLE}])) "
                    f"/ clamp_min(sum by (instance) (increase(goldline_prepare_seconds_count{{STATION}}[{WHOLE}])), 1)",
                    "mean time",
                ),
                Query(f"sum by (instance) (increase(goldline_prepares_refused_total{{STATION}}[{WHOLE}]))", "refused"),
            ),
            width=16,
            height=4,
            units={"mean time": "s"},
        ),
    ),
)
