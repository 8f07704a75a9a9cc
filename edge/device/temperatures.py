"""Temperatures that the kernel knows: thermal zones first, then sensors of the board and of disks (hwmon).

A zone that is switched off answers with an error, or with -256 on some Jetsons; a drive's limit may be nonsense. Such
are left out.
"""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from edge.device.sample import Sample, number_of, text_of

# A board has a handful that matter; a server may have dozens. Each is two series.
MOST_SENSORS = 8
# Nothing that runs is colder or hotter.
COLDEST_C, HOTTEST_C = -100.0, 200.0
# Every core has its own, and the package has the highest of them.
CORE = re.compile(r"Core \d+")


class Sensor(NamedTuple):
    """`limit_c`: where the machine stops itself; None where it does not say."""

    name: str
    celsius: float
    limit_c: float | None


def read(sys: Path = Path("/sys")) -> Iterator[Sample]:
    """Every sensor, and its limit where it has one. `sys` is /sys but in tests."""
    for sensor in islice(_named_apart(sensors(sys)), MOST_SENSORS):
        yield Sample("goldline_device_temperature_celsius", sensor.celsius, (sensor.name,))
        if sensor.limit_c is not None:
            yield Sample("goldline_device_temperature_limit_celsius", sensor.limit_c, (sensor.name,))


def sensors(sys: Path) -> Iterator[Sensor]:
    """As the kernel lists them; several may have one name."""
    zones = list(_zones(sys / "class" / "thermal"))
    yield from zones
    # The kernel shows a zone among the sensors too, by this spelling of its name.
    shown = {zone.name.replace("-", "_") for zone in zones}
    for chip in _numbered(sys / "class" / "hwmon", "hwmon*"):
        name = text_of(chip / "name") or chip.name
        if name not in shown:
            yield from _chip(chip, name)


def _zones(thermal: Path) -> Iterator[Sensor]:
    for zone in _numbered(thermal, "thermal_zone*"):
        celsius = _celsius(zone / "temp")
        if celsius is not None:
            limits = [
                limit
                for kind in zone.glob("trip_point_*_type")
                if text_of(kind) in {"critical", "hot"}
                and (limit := _celsius(kind.with_name(kind.name.replace("_type", "_temp")))) is not None
            ]
            yield Sensor(text_of(zone / "type") or zone.name, celsius, min(limits, default=None))


def _chip(chip: Path, name: str) -> Iterator[Sensor]:
    for source in _numbered(chip, "temp*_input"):
        label = text_of(source.with_name(source.name.replace("_input", "_label"))) or ""
        celsius = _celsius(source)
        if celsius is not None and not CORE.fullmatch(label):
            limit = _celsius(source.with_name(source.name.replace("_input", "_crit")))
            yield Sensor(f"{name} {label}".strip(), celsius, limit)


def _numbered(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern), key=lambda path: (len(path.name), path.name))


def _celsius(path: Path) -> float | None:
    found = number_of(path)
    return None if found is None or not COLDEST_C < found / 1000 < HOTTEST_C else found / 1000


def _named_apart(found: Iterator[Sensor]) -> Iterator[Sensor]:
    """The second of a name is called `name 2`."""
    times: dict[str, int] = {}
    for sensor in found:
        times[sensor.name] = number = times.get(sensor.name, 0) + 1
        yield sensor if number == 1 else sensor._replace(name=f"{sensor.name} {number}")
