"""What comes with the program beside its code: units, rules, dashboards, the first configuration and the demo product.

A wheel carries them in its folder `edge/share`; in a checkout they are at its root.
"""

from pathlib import Path

from edge.errors import GoldlineError

PACKAGE = Path(__file__).parent
# As pyproject.toml copies them into a wheel.
SHARE = PACKAGE / "share"
# What is shipped: the same names at the root of a checkout.
PARTS = ("systemd", "deploy", "pipelines", "config.toml")


def folder(package: Path = PACKAGE) -> Path:
    """The folder that has all of PARTS. Raises GoldlineError where a part is missing: the program is not whole."""
    checkout = package.parent
    place = checkout if (checkout / "pyproject.toml").is_file() else package / SHARE.name
    missing = [part for part in PARTS if not (place / part).exists()]
    if missing:
        raise GoldlineError(f"{place}: {', '.join(missing)} is missing: install Goldline's wheel again")
    return place


def read(name: str) -> bytes:
    """The content of one shipped file: `systemd/goldline.service`. Raises GoldlineError, OSError."""
    return (folder() / name).read_bytes()
