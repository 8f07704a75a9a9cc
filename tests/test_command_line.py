"""The command line: what every command takes in the same place, and values that are none."""

import argparse
import sys

import pytest

from edge import __main__ as command_line
from edge.archive_index import FILE, Index, Wanted
from edge.archive_reader import find
from edge.archive_store import FOLDER
from edge.commands import images

# What its words mean is for the fake camera itself to say; it has no station.
OF_NO_STATION = {("camera", "fake")}


def verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Those of one command, with their own parsers."""
    found = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return found[0].choices if found else {}


@pytest.mark.parametrize("command", command_line.COMMANDS)
def test_the_configuration_is_named_before_a_verb_or_after_it(command, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["goldline", command])
    parser = verbs(command_line.parser())[command]
    assert "--config" in parser._option_string_actions
    for verb, its_own in verbs(parser).items():
        assert (command, verb) in OF_NO_STATION or "--config" in its_own._option_string_actions, verb


@pytest.mark.parametrize("words", [["order", "state"], ["outbox", "status"], ["outbox", "forget", "mes"]])
def test_a_verb_does_not_forget_what_was_named_before_it(words, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["goldline", *words])
    command, *rest = words
    before = command_line.parser().parse_args([command, "--config", "here.toml", *rest])
    after = command_line.parser().parse_args([*words, "--config", "here.toml"])
    assert str(before.config) == str(after.config) == "here.toml"


@pytest.mark.parametrize("text", ["999999d", "9999999d", "-1d", "yesterday", "2026-13-01", "0001-01-01"])
def test_what_is_no_time_is_refused_in_words(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is neither a date nor a time"):
        images.since(text)


@pytest.mark.parametrize("text", ["0", "-5", "1.5", "many", "9" * 30])
def test_what_is_no_number_of_pictures_is_refused_in_words(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is no number of pictures"):
        images.at_least_one(text)


def test_a_time_far_off_finds_nothing(tmp_path):
    (tmp_path / FOLDER).mkdir()
    Index.create_or_open(tmp_path / FOLDER).close()
    asked = argparse.Namespace(what=None, verdict=None, since=images.since("9999-01-01"), action="verify")
    assert find(tmp_path, images._wanted(asked)) == []


def test_an_index_is_found_in_a_folder_of_any_name(tmp_path):
    state_dir = tmp_path / "100% #1?"
    (state_dir / FOLDER).mkdir(parents=True)
    Index.create_or_open(state_dir / FOLDER).close()
    assert (state_dir / FOLDER / FILE).is_file()
    assert find(state_dir, Wanted()) == []
