"""What happened to the stations, marked on every panel: name, when it holds, colour."""

from tools.boards.panel import Query, counted

# Grafana asks once a minute of the board's time, or more often.
WINDOW = "1m"
ANNOTATIONS = tuple(
    (name, Query(expression, "").promql, colour)
    for name, expression, colour in (
        (
            "Station started",
            f"max by (instance) (resets(goldline_events_written_total{{STATION}}[{WINDOW}])) > 0",
            "red",
        ),
        (
            "Worker started again",
            f"sum by (instance, worker, cause) {counted('goldline_worker_restarts_total{STATION}', WINDOW)} > 0",
            "orange",
        ),
        (
            "Configuration changed",
            f"max by (instance) (changes(goldline_configuration_generation{{STATION}}[{WINDOW}])) > 0",
            "blue",
        ),
        (
            "Product prepared",
            f"max by (instance) (increase(goldline_prepare_seconds_count{{STATION}}[{WINDOW}])) > 0",
            "green",
        ),
    )
)
