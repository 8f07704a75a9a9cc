"""What the uplink counts, as one value."""

from dataclasses import dataclass
from typing import Self

from edge.metrics import Counter, Gauge, Page


@dataclass(frozen=True, kw_only=True)
class Figures:
    """`metric_table.py` says what each means."""

    connected: Gauge
    connections: Counter
    published: Counter
    published_sequence: Gauge
    acknowledged: Gauge
    waiting: Gauge
    refused: Counter
    too_large: Counter

    @classmethod
    def of(cls, page: Page) -> Self:
        """Of the uplink's page."""
        return cls(
            connected=page.gauge("goldline_fleet_connected"),
            connections=page.counter("goldline_fleet_connections_total"),
            published=page.counter("goldline_fleet_published_total"),
            published_sequence=page.gauge("goldline_fleet_published_sequence"),
            acknowledged=page.gauge("goldline_fleet_acknowledged_sequence"),
            waiting=page.gauge("goldline_fleet_waiting_events"),
            refused=page.counter("goldline_fleet_refused_total"),
            too_large=page.counter("goldline_fleet_too_large_total"),
        )
