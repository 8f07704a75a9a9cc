"""goldline inspect: judge images, and show why."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.config import load_station
from edge.errors import GoldlineError

if TYPE_CHECKING:
    from edge.inspector import Inspector
    from edge.records import Verdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline inspect`."""
    parser.description = (
        "Judge images by the product's active reference set. Exit code 0 when all PASS, 1 when any does not."
    )
    parser.epilog = "example:\n  goldline inspect lid part-017.png --evidence why/"
    parser.add_argument("product", metavar="NAME", help="the product")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files")
    parser.add_argument(
        "--expect", type=expectation, default={}, metavar="KEY=VALUE,…", help="what an order would give"
    )
    parser.add_argument("--camera", metavar="ROLE", help="the camera role that took them, where there are several")
    parser.add_argument("--evidence", type=Path, metavar="DIR", help="write a picture of why, for each image, here")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def expectation(text: str) -> dict[str, str]:
    """`variant=left,code=123` as a dictionary. Raises ArgumentTypeError."""
    pairs = [part.partition("=") for part in text.split(",")]
    if any(not name or not sign for name, sign, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text!r}: expected KEY=VALUE, joined by commas")
    return {name: value for name, _, value in pairs}


def run(arguments: argparse.Namespace) -> int:
    """Judge each image and print its verdict. 0 when all PASS, else 1."""
    from edge.inspector import Inspector
    from edge.records import Outcome

    inspector = Inspector.load(load_station(arguments.config), arguments.product)
    role = inspector.role(arguments.camera)
    inspector.warm_up((1,))
    if arguments.evidence is not None:
        _make(arguments.evidence)
    all_pass = True
    for path in arguments.images:
        verdict, latency_ms = judge_file(inspector, path, arguments.expect, arguments.evidence, role)
        line = json.dumps(to_json(path, verdict, latency_ms)) if arguments.json else to_text(path, verdict, latency_ms)
        print(line, flush=True)
        all_pass = all_pass and verdict.outcome is Outcome.PASS
    return 0 if all_pass else 1


def judge_file(
    inspector: "Inspector", path: Path, expect: dict[str, str], evidence: Path | None, role: str
) -> tuple["Verdict", float]:
    """The verdict on one file and the time from decoded frame to verdict, ms. An unreadable one is an ERROR."""
    from edge.evaluate import look
    from edge.images import read_image
    from edge.records import Reason, error

    try:
        image = read_image(path)
    except GoldlineError as problem:
        return error(Reason.CANNOT_JUDGE, str(problem)), 0.0
    seen = look(inspector, role, image, expect)
    if evidence is not None:
        from edge.evidence import write

        write(evidence / f"{path.stem}.png", inspector, image, seen.prepared, seen.scores, seen.verdict)
    return seen.verdict, sum(seen.stages_ms)


def to_json(path: Path, verdict: "Verdict", latency_ms: float) -> dict[str, Any]:
    """One line of `goldline inspect --json`."""
    import msgspec

    told: dict[str, Any] = msgspec.to_builtins(verdict)
    keys = (
        "reason",
        "detail",
        "review",
        "score",
        "limits",
        "checks",
        "defects",
        "pose",
        "closest_reference",
        "p_value",
    )
    return {
        "image": str(path),
        "verdict": told["outcome"],
        **{key: told[key] for key in keys},
        "latency_ms": latency_ms,
    }


def to_text(path: Path, verdict: "Verdict", latency_ms: float) -> str:
    """One line for a person."""
    parts = [f"{verdict.outcome:<5}", str(path)]
    if verdict.reason is not None:
        parts.append(f"{verdict.reason}: {verdict.detail or ''}")
    if verdict.score is not None and verdict.limits is not None:
        parts.append(f"score {verdict.score:.2f} (review {verdict.limits.review:.2f}, fail {verdict.limits.fail:.2f})")
    if verdict.review:
        parts.append("review")
    parts += [f"{name} {check.found}" for name, check in verdict.checks.items() if check.found is not None]
    parts += [f"{defect.check} at {','.join(map(str, defect.bbox))}" for defect in verdict.defects[:3]]
    if verdict.closest_reference is not None:
        parts.append(f"closest {verdict.closest_reference}")
    return "  ".join([*parts, f"{latency_ms:.1f} ms"])


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise GoldlineError(f"{directory}: {problem.strerror}") from problem
