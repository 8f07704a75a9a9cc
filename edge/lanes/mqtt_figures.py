"""What the MQTT lane counts, as one value."""

from dataclasses import dataclass
from typing import Self

from edge.metrics import Counter, Gauge, Page


@dataclass(frozen=True, kw_only=True)
class Figures:
    """`metric_table.py` says what each means."""

    connected: Gauge
    connections: Counter
    published: Counter
    acknowledged: Gauge
    too_large: Counter

    @classmethod
    def of(cls, page: Page) -> Self:
        """Of this lane's page."""
        return cls(
            connected=page.gauge("goldline_mqtt_connected"),
            connections=page.counter("goldline_mqtt_connections_total"),
            published=page.counter("goldline_mqtt_published_total"),
            acknowledged=page.gauge("goldline_mqtt_acknowledged_sequence"),
            too_large=page.counter("goldline_mqtt_too_large_total"),
        )
