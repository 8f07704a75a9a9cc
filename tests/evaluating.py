"""Runs `goldline evaluate` of the lid on labelled images, as a user would."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from edge.commands import evaluate as command
from edge.config import Station
from tests import lid


def run(station: Station, data: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    arguments = parser.parse_args([lid.PRODUCT, "--data", str(data), *words])
    arguments.config = station.state_dir.parent / "config.toml"
    return command.run(arguments)


def told(station: Station, data: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert run(station, data, "--json", *words) == 0
    return json.loads(capsys.readouterr().out)
