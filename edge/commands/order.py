"""goldline order: what a PLC or an MES may order of the running station, by hand."""

import argparse
from pathlib import Path
from typing import Any

EPILOG = """\
examples:
  goldline order state
  goldline order prepare trunk --variant oak      judge by another product, without a stop
  goldline order announce left --unit-identifier A17
  goldline order start | stop | halt | reset
  goldline order start-single left                one trigger, then Ready again

exit code: 0 carried out, 1 refused, 2 no station answers
"""
# `prepare` loads a product, which takes seconds, and minutes where an engine is built for it.
PREPARE_WITHIN_S = 900.0
ANSWER_WITHIN_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.description = "Send an order to the running station and print its answer (docs/orders.md)."
    parser.epilog = EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="ORDER")
    texts = {
        "state": "print how the station stands",
        "prepare": "judge by this product from the answer on",
        "announce": "name the unit that the next trigger is for",
        "start": "take triggers until told otherwise",
        "start-single": "take one trigger",
        "stop": "take no more triggers",
        "halt": "take no more triggers until reset",
        "reset": "as after a start of the station",
    }
    orders = {verb: verbs.add_parser(verb, help=text, description=text) for verb, text in texts.items()}
    for order in orders.values():
        # Wherever it is given, it is the same.
        order.add_argument("--config", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        order.add_argument("--json", action="store_true", help="print the answer as one JSON object")
        order.add_argument(
            "--keys", type=Path, metavar="FILE", help="the file of `goldline keys client` (default: the station's own)"
        )
    orders["prepare"].add_argument("product", help="a folder of pipelines/ that was taught")
    orders["prepare"].add_argument("--variant", metavar="X", help="what triggers expect that name none")
    for verb in ("announce", "start-single"):
        orders[verb].add_argument("camera", help="a camera, or a group of cameras")
        orders[verb].add_argument("--unit-identifier", metavar="X", help="the part's serial number; without: none")
        orders[verb].add_argument("--expect", action="append", default=[], metavar="KEY=VALUE", help="as variant=oak")


def run(arguments: argparse.Namespace) -> int:
    """0 when it was carried out, 1 when the station refused it."""
    import msgspec

    from edge.addresses import reached
    from edge.client import ask
    from edge.config import load_station
    from edge.keys import keys_for

    station = load_station(arguments.config)
    address, keys = reached(station.events.command), keys_for(station, "orders", arguments.keys)
    order, within_s = order_of(arguments), ANSWER_WITHIN_S
    if arguments.verb == "prepare":
        # Nobody should wait long for a station that is not there.
        ask(address, {"verb": "state"}, within_s, keys=keys)
        within_s = PREPARE_WITHIN_S
    answer = ask(address, order, within_s, keys=keys)
    print(msgspec.json.encode(answer).decode() if arguments.json else in_words(answer))
    return 1 if answer.get("accepted") is False else 0


def order_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The order in the words of the command socket. Raises GoldlineError."""
    from edge.commands.trigger import expectations

    order: dict[str, Any] = {"verb": arguments.verb.replace("-", "_")}
    if arguments.verb == "prepare":
        return order | {"product": arguments.product, "variant": arguments.variant}
    if arguments.verb in ("announce", "start-single"):
        expect = expectations(arguments.expect)
        return order | {
            "camera": arguments.camera,
            "unit_identifier": arguments.unit_identifier,
            "expect": expect,
        }
    return order


def in_words(answer: dict[str, Any]) -> str:
    """One line; several for how the station stands."""
    if "error" in answer:
        return f"refused: {answer['error']}"
    if "trigger_id" in answer:
        return f"accepted: trigger {answer['trigger_id']}"
    job = answer["job"]
    variant = f", variant {job['variant']}" if job["variant"] else ""
    lines = [f"{answer['state']}: product {job['product']}{variant}, configuration {job['configuration']}"]
    for name, one in {**answer.get("cameras", {}), **answer.get("groups", {})}.items():
        counts = " · ".join(f"{verdict} {count}" for verdict, count in one["verdicts"].items())
        away = "" if one.get("is_linked", True) else " · its process is away"
        lines.append(f"{name}: triggers {one['triggers']} · in flight {one['in_flight']} · {counts}{away}")
    return "\n".join(lines + [f"alarm {alarm['name']}: {alarm['text']}" for alarm in answer.get("alarms", [])])
