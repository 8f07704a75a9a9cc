"""What the tests of `goldline doctor` examine."""

from collections.abc import Iterator
from pathlib import Path

from edge.camera_config import GigeCamera
from edge.doctor.finding import Finding, Machine, Person

NOBODY = Person(name="nobody", uid=65534, groups=frozenset({65534}))
AWAY, PORT = "10.9.0.2", "10.9.0.1"


def only(findings: Iterator[Finding]) -> Finding:
    (found,) = findings
    return found


def tree(root: Path, **files: str) -> Machine:
    """A machine with these files: `tree(tmp, **{"/proc/x": "1"})`."""
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return Machine(root=root, person=NOBODY)


def camera(**keys: object) -> dict[str, GigeCamera]:
    return {"top": GigeCamera.model_validate({"source": "gige", "address": AWAY} | keys)}
