"""Judges stored frames twice, by what is in force and by what is proposed, and tells what would change.

Nothing is switched: a reference set or a pair of limits is seen at work before it goes live.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.evaluate import Call, look
from edge.images import Image, ImageError, read_image
from edge.inspector import Inspector
from edge.records import Reason, Verdict, error


@dataclass(frozen=True)
class Replayed:
    """One frame's verdicts."""

    name: str
    before: Verdict
    after: Verdict

    @property
    def changed(self) -> bool:
        """Whether the line would have been told something else."""
        return said(self.before) != said(self.after)

    def to_json(self) -> dict[str, Any]:
        """Both verdicts, as far as they differ."""
        return {
            "image": self.name,
            "before": said(self.before),
            "after": said(self.after),
            "score_before": self.before.score,
            "score_after": self.after.score,
            "detail": self.after.detail,
        }


def said(verdict: Verdict) -> str:
    """The verdict as the line is told it: PASS, REVIEW, FAIL or ERROR(reason)."""
    call = Call.of(verdict)
    return f"{call}({verdict.reason})" if call is Call.ERROR else str(call)


def replay(
    before: Inspector, after: Inspector, role: str, paths: Sequence[Path], tell: Callable[[int, int], None]
) -> list[Replayed]:
    """Every frame by both. A file that cannot be read is an ERROR for both."""
    results: list[Replayed] = []
    for path in paths:
        results.append(_replay_one(before, after, role, path))
        tell(len(results), len(paths))
    return results


def _replay_one(before: Inspector, after: Inspector, role: str, path: Path) -> Replayed:
    try:
        image = read_image(path)
    except ImageError as problem:
        unreadable = error(Reason.CANNOT_JUDGE, str(problem))
        return Replayed(path.name, unreadable, unreadable)
    return Replayed(path.name, judge(before, image, role), judge(after, image, role))


def judge(inspector: Inspector, image: Image, role: str) -> Verdict:
    """One picture [h, w, 3] by itself, without an order."""
    return look(inspector, role, image).verdict


def summary(results: Sequence[Replayed]) -> dict[str, Any]:
    """How often each verdict was given, before and after, and the frames that changed."""
    kinds = sorted({said(one.before) for one in results} | {said(one.after) for one in results})
    return {
        "frames": len(results),
        "before": {kind: sum(said(one.before) == kind for one in results) for kind in kinds},
        "after": {kind: sum(said(one.after) == kind for one in results) for kind in kinds},
        "changed": [one.to_json() for one in results if one.changed],
    }
