"""What other limits would do to the images that a reference set knows, before they are accepted into the recipe.

Good images are held against the limits by their scores as teach found them, by references without them; known bad
images are judged anew.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from edge import judge
from edge.bads import known_bads
from edge.errors import GoldlineError
from edge.inspector import Inspector
from edge.recipe import LimitsRecipe
from edge.records import Limits, Verdict
from edge.replay import judge as judge_image
from edge.replay import said

LIMITS = "limits"


@dataclass(frozen=True)
class Change:
    """An image that would be told otherwise; `kind` is good or bad."""

    image: str
    kind: str
    before: str
    after: str


@dataclass(frozen=True)
class Effect:
    """What limits do to one camera role's known images: (review, fail) as shares of the good, and escapes."""

    role: str
    before: Limits
    after: Limits
    goods: int
    false_calls_before: int
    false_calls_after: int
    bads: int
    escapes_before: int
    escapes_after: int
    rate: float | None
    changes: tuple[Change, ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "camera": self.role,
            "before": {"review": self.before.review, "fail": self.before.fail},
            "after": {"review": self.after.review, "fail": self.after.fail},
            "good": {"images": self.goods, "false_calls": [self.false_calls_before, self.false_calls_after]},
            "bad": {"images": self.bads, "escapes": [self.escapes_before, self.escapes_after]},
            "false_call_rate": self.rate,
            "changed": [
                {"image": one.image, "kind": one.kind, "before": one.before, "after": one.after} for one in self.changes
            ],
        }


def effects(before: Inspector, after: Inspector) -> list[Effect]:
    """The effect on every camera role of going from one inspector's limits to another's, on the same reference set."""
    return [_effect(before, after, role) for role in before.roles]


def _effect(before: Inspector, after: Inspector, role: str) -> Effect:
    now, then = before.calibration_of(role), after.calibration_of(role)
    manifest = before.references.view(role)
    proposed = good_verdicts(after, role)
    goods = [
        Change(name, "good", said(verdict), said(proposed[name]))
        for name, verdict in good_verdicts(before, role).items()
    ]
    bads = [
        Change(name, "bad", said(judge_image(before, image, role)), said(judge_image(after, image, role)))
        for name, image in known_bads(before.references, manifest)
    ]
    return Effect(
        role=role,
        before=now.limits,
        after=then.limits,
        goods=len(goods),
        false_calls_before=sum(one.before != "PASS" for one in goods),
        false_calls_after=sum(one.after != "PASS" for one in goods),
        bads=len(bads),
        escapes_before=sum(one.before == "PASS" for one in bads),
        escapes_after=sum(one.after == "PASS" for one in bads),
        rate=then.rate,
        changes=tuple(one for one in (*goods, *bads) if one.before != one.after),
    )


def good_verdicts(inspector: Inspector, role: str) -> dict[str, Verdict]:
    """What each good image is told by references without it, by its name."""
    manifest = inspector.references.view(role)
    scores = inspector.references.arrays(f"{role}/scores.npz")
    calibration = inspector.calibration_of(role)
    places = range(len(manifest.references) if calibration.scales else 0)
    return {
        manifest.references[place]: judge.decide(
            {check: float(scores[check][place]) for check in calibration.scales}, calibration
        )
        for place in places
    }


def accept(path: Path, limits: LimitsRecipe) -> None:
    """Write limits into a recipe; its comments and everything else stay as they are. Raises GoldlineError."""
    try:
        document: Any = tomlkit.parse(path.read_text())
        document[LIMITS] = _table(limits, document.get(LIMITS))
        written = path.with_name(f".{path.name}.new")
        written.write_text(tomlkit.dumps(document))
        written.replace(path)
    except (OSError, TOMLKitError) as problem:
        raise GoldlineError(f"{path}: the limits cannot be written: {problem}") from problem


def _table(limits: LimitsRecipe, before: Any) -> Any:
    table = tomlkit.table() if before is None else before
    for key, value in limits.model_dump(exclude_defaults=True).items():
        table[key] = value
    for key in [key for key in table if key not in limits.model_dump(exclude_defaults=True)]:
        del table[key]
    return table
