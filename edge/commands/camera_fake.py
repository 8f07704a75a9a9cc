"""goldline camera fake: be a GigE Vision camera that serves the images of a folder."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Every word is the fake camera's own to understand, `--help` too."""
    parser.add_argument("words", nargs="*")


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    from edge.cameras import fake_gige

    return fake_gige.main(arguments.words)
