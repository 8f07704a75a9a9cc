"""What somebody has to see to, in sentences, worst first. Pure."""

from edge.overview.look import Look
from edge.overview.scraped import Counted


def attention(now: Look) -> tuple[str, ...]:
    """Empty where all is well."""
    if now.is_running is False:
        return ("the station does not run",)
    told = [f"{alarm.name}: {alarm.text}" for alarm in now.state.alarms] if now.state else []
    if now.state is None:
        told.insert(0, "publish does not answer: no order is taken, no event is sent")
    if now.counted is None:
        return ("the supervisor's page of metrics does not answer", *told, *_configuration(now))
    return tuple(told + _workers(now) + _cameras(now) + _counts(now.counted) + _configuration(now))


def _configuration(now: Look) -> list[str]:
    """A file that somebody changed and nobody made live is a surprise at the next start."""
    if now.control is None:
        return []
    if now.control.problem is not None:
        return [f"the configuration cannot be taken as it stands now: {now.control.problem}"]
    if now.control.differs:
        return [f"the configuration has changed ({now.control.differs} keys): goldline reload --dry-run"]
    return []


def _workers(now: Look) -> list[str]:
    if now.readiness is None:
        return ["the supervisor does not say how its processes and cameras are"]
    states: dict[str, str] = now.readiness.get("workers", {})
    return [f"{name} is {state}" for name, state in states.items() if state not in ("idle", "busy")]


def _cameras(now: Look) -> list[str]:
    states: dict[str, str] = (now.readiness or {}).get("cameras", {})
    return [
        f"camera {name} is {state}: its triggers are answered with ERROR"
        for name, state in states.items()
        if state != "streaming"
    ]


def _counts(counted: Counted) -> list[str]:
    told: list[str] = []
    for kind, count in counted.by("goldline_invariant_violations_total", "kind").items():
        if count:
            told.append(f"an invariant of the ledger was violated: {kind}, {count:.0f} times")
    if counted.sum("goldline_engine_fallback"):
        told.append("the CPU stands in for the accelerator that was asked for")
    if counted.sum("goldline_archive_failing"):
        told.append("pictures of rejected parts are lost: the disk refuses them")
    if "goldline_mqtt_connected" in counted and not counted.sum("goldline_mqtt_connected"):
        told.append("the MQTT broker is not connected: events wait in the outbox")
    if "goldline_fleet_connected" in counted and not counted.sum("goldline_fleet_connected"):
        told.append("the fleet's server on this device is not connected: events wait in the outbox")
    for camera in sorted(counted.by("goldline_drift_alarm", "camera")):
        kinds = [kind for kind, on in counted.by("goldline_drift_alarm", "kind", camera=camera).items() if on]
        told += [f"the {kind} of parts before {camera} has drifted" for kind in kinds]
    return told
