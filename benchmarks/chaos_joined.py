"""What became of every order: the logs of the outside world held against the station's record. Pure.

triggers    accepted: with an answer, or without one and an event in the record
verdicts    of those, the ones that have an event
duplicates  triggers with more than one event, orders carried out more than once, events that the consumer has twice
missing     triggers without an event, and ids that were used and have none
pass_without_frame   PASS without a frame of its own, taken after its trigger
consumer_missing     events of the record that the consumer has not
"""

import math
import statistics
from collections import Counter
from dataclasses import dataclass, field

BLOCK_IDS = 1024
# Wall clock of two events of one machine, each to the microsecond.
SLACK_S = 0.001
SHOWN = 5


@dataclass
class Logs:
    """One row a line of each log; `record` is the outbox, in the consumer's words.

    `triggers`: accepted with an answer. `truth`: verdict by camera and picture. `deadline_s`: of every order.
    """

    triggers: list
    orders: list
    events: list
    record: list
    kills: list
    truth: dict = field(default_factory=dict)
    deadline_s: float = math.inf


def joined(logs):
    """The figures, as they are printed."""
    found = _findings(logs)
    answers = _by_id(logs.record)
    accepted = {row["trigger_id"] for row in logs.triggers}
    taken = accepted | {row["trigger_id"] for row in taken_unanswered(logs)}
    times = recoveries(logs)
    return {
        "triggers": len(taken),
        "verdicts": len(taken & answers.keys()),
        "duplicates": len(found["duplicates"]),
        "missing": len(found["missing"]),
        "kills": len(logs.kills),
        "pass_without_frame": len(found["pass_without_frame"]),
        "consumer_missing": len(found["consumer_missing"]),
        "recovery_ms": _spread([each for row in times.values() for each in row]),
        "detail": {
            "unanswered": sum(row["outcome"] == "unanswered" for row in logs.orders),
            "unanswered_but_taken": len(taken - accepted),
            "refused": dict(Counter(row["error"] for row in logs.orders if row["outcome"] == "refused")),
            "strangers": len(found["strangers"]),
            "other_than_the_plain_loop": len(found["other_than_the_plain_loop"]),
            "identical_record": logs.record == [_without_arrival(row) for row in logs.events],
            "outbox_rows": len(logs.record),
            "verdicts": dict(Counter(row["verdict"] for row in logs.record)),
            "errors": dict(Counter(row["reason"] for row in logs.record if row["verdict"] == "ERROR")),
            "late": sum(not row["on_time"] for row in logs.record),
            "kills": dict(Counter(f"{row['signal']} {_role(row['worker'])}" for row in logs.kills)),
            "recovery_ms": {role: _spread(row) for role, row in sorted(times.items())},
            "unrecovered": len([row for row in logs.kills if row["worker"] != "consumer"])
            - sum(len(row) for row in times.values()),
            "offenders": {name: rows[:SHOWN] for name, rows in found.items() if rows},
        },
    }


def _findings(logs):
    """Everything that breaks a promise, by the promise."""
    answers = _by_id(logs.record)
    accepted = {row["trigger_id"] for row in logs.triggers}
    ordered = {row["unit_identifier"] for row in (*logs.triggers, *taken_unanswered(logs))}
    have = {(row["stream"], row["sequence"]) for row in logs.events}
    return {
        "duplicates": [
            *(rows for rows in answers.values() if len(rows) > 1),
            *_more_than_once(logs.record, lambda row: row["unit_identifier"]),
            *_more_than_once(logs.events, lambda row: (row["stream"], row["sequence"])),
            *_more_than_once(logs.triggers, lambda row: row["trigger_id"]),
        ],
        "missing": [*(row for row in logs.triggers if row["trigger_id"] not in answers), *_lost_ids(answers, accepted)],
        "pass_without_frame": [
            row
            for row in logs.record
            if row["verdict"] == "PASS" and (row["frame_id"] is None or row["score"] is None or not _is_fresh(row))
        ]
        + [
            rows
            for rows in _more_than_once(logs.record, lambda row: row["captured"] and (row["camera"], row["captured"]))
            if any(row["verdict"] == "PASS" for row in rows)
        ],
        "consumer_missing": [row for row in logs.record if (row["stream"], row["sequence"]) not in have],
        # Every event answers an order that was not refused; after a mere kill nothing is `interrupted`.
        "strangers": [row for row in logs.record if row["unit_identifier"] not in ordered],
        "other_than_the_plain_loop": [row for row in logs.record if not _is_true(row, logs.truth)],
        "answers_to_another_order": [
            (row, answer)
            for row in logs.triggers
            for answer in answers.get(row["trigger_id"], ())
            if (row["unit_identifier"], row["camera"]) != (answer["unit_identifier"], answer["camera"])
        ],
        "late_and_not_said": [row for row in logs.record if row["on_time"] and _took_s(row) > logs.deadline_s + SLACK_S],
        "gaps": [
            (one, other) for one, other in zip(logs.record, logs.record[1:], strict=False)
            if other["sequence"] != one["sequence"] + 1
        ],
    }  # fmt: skip


def taken_unanswered(logs):
    """Events of orders whose answer died with the process that gave it."""
    unanswered = {row["unit_identifier"] for row in logs.orders if row["outcome"] == "unanswered"}
    return [row for row in logs.record if row["unit_identifier"] in unanswered]


def _lost_ids(answers, accepted):
    """Ids are given in order within their block: one below the highest that was used, without an event, was lost."""
    blocks = {}
    for trigger_id in answers:
        block = (trigger_id - 1) // BLOCK_IDS
        blocks[block] = max(blocks.get(block, 0), trigger_id)
    used = (number for block, last in blocks.items() for number in range(block * BLOCK_IDS + 1, last + 1))
    return [{"trigger_id": number} for number in used if number not in answers and number not in accepted]


def _took_s(row):
    return row["decided"] - row["triggered"] if row["triggered"] is not None else 0.0


def _is_fresh(row):
    return row["captured"] is not None and row["captured"] >= row["triggered"] - SLACK_S


def _is_true(row, truth):
    """A frame was judged as the plain loop judges the same picture. What is ERROR was not judged."""
    expected = truth.get(row["camera"])
    if expected is None or row["verdict"] == "ERROR" or row["frame_id"] is None:
        return True
    return row["verdict"] == expected[(row["frame_id"] - 1) % len(expected)]


def _more_than_once(rows, key):
    groups = {}
    for row in rows:
        if (name := key(row)) is not None:
            groups.setdefault(name, []).append(row)
    return [group for group in groups.values() if len(group) > 1]


def _by_id(record):
    answers = {}
    for row in record:
        if row["trigger_id"] is not None:
            answers.setdefault(row["trigger_id"], []).append(row)
    return answers


def _without_arrival(row):
    return {name: value for name, value in row.items() if name != "received"}


def _role(worker):
    return "capture" if worker.startswith("capture@") else worker


def recoveries(logs):
    """ms from each signal to the next verdict, of a camera it concerned, on a frame taken after it; by who got it."""
    judged = sorted(
        (row["captured"], row["decided"], row["camera"])
        for row in logs.record
        if row["verdict"] != "ERROR" and row["captured"] is not None
    )
    times = {}
    for kill in logs.kills:
        if kill["worker"] == "consumer":
            continue
        _, at, camera = kill["worker"].partition("@")
        of = camera if at and kill["worker"].startswith("capture") else None
        after = [decided for taken, decided, name in judged if taken > kill["t"] and of in (None, name)]
        if after:
            times.setdefault(_role(kill["worker"]), []).append((min(after) - kill["t"]) * 1000)
    return times


def _spread(times_ms):
    if not times_ms:
        return {"p50": None, "max": None}
    return {"p50": round(statistics.median(times_ms)), "max": round(max(times_ms))}


def broken(figures):
    """The promises that did not hold, by name."""
    names = ("duplicates", "missing", "pass_without_frame", "consumer_missing")
    problems = [name for name in names if figures[name]]
    problems += [name for name in figures["detail"]["offenders"] if name not in problems]
    if figures["triggers"] != figures["verdicts"]:
        problems.append("triggers != verdicts")
    if not figures["detail"]["identical_record"]:
        problems.append("the consumer's record is not the station's")
    return problems
