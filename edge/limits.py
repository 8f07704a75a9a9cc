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
from edge.records import Limits, Outcome, Verdict
from edge.replay import Replayed, said
from edge.replay import judge as judge_image

LIMITS = "limits"
PASS = str(Outcome.PASS)


@dataclass(frozen=True)
class Known:
    """The images that a reference set knows, as two inspectors tell them."""

    goods: tuple[Replayed, ...]
    bads: tuple[Replayed, ...]

    @property
    def false_calls(self) -> tuple[int, int]:
        """Good images that do not pass, before and after."""
        return sum(said(one.before) != PASS for one in self.goods), sum(said(one.after) != PASS for one in self.goods)

    @property
    def escapes(self) -> tuple[int, int]:
        """Bad images that pass, before and after."""
        return sum(said(one.before) == PASS for one in self.bads), sum(said(one.after) == PASS for one in self.bads)

    @property
    def changes(self) -> list[tuple[str, Replayed]]:
        """The images that would be told otherwise, as good or bad."""
        every = [("good", one) for one in self.goods] + [("bad", one) for one in self.bads]
        return [(kind, one) for kind, one in every if one.changed]


@dataclass(frozen=True)
class Effect:
    """What limits do to one camera role's known images, and the rate of false calls that they promise."""

    role: str
    before: Limits
    after: Limits
    rate: float | None
    known: Known

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        known = self.known
        return {
            "camera": self.role,
            "before": {"review": self.before.review, "fail": self.before.fail},
            "after": {"review": self.after.review, "fail": self.after.fail},
            "good": {"images": len(known.goods), "false_calls": list(known.false_calls)},
            "bad": {"images": len(known.bads), "escapes": list(known.escapes)},
            "false_call_rate": self.rate,
            "changed": [
                {"image": one.name, "kind": kind, "before": said(one.before), "after": said(one.after)}
                for kind, one in known.changes
            ],
        }


def effects(before: Inspector, after: Inspector) -> list[Effect]:
    """The effect on every camera role of going from one inspector's limits to another's, on the same reference set."""
    return [
        Effect(
            role=role,
            before=before.calibration_of(role).limits,
            after=after.calibration_of(role).limits,
            rate=after.calibration_of(role).rate,
            known=compare(before, after, role),
        )
        for role in before.roles
    ]


def compare(before: Inspector, after: Inspector, role: str) -> Known:
    """The good images that both know, each by references without it, and the bad ones that the later one knows."""
    old, new = good_verdicts(before, role), good_verdicts(after, role)
    found = after.references
    return Known(
        goods=tuple(Replayed(name, verdict, new[name]) for name, verdict in old.items()),
        bads=tuple(
            Replayed(name, judge_image(before, image, role), judge_image(after, image, role))
            for name, image in known_bads(found, found.view(role))
        ),
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
