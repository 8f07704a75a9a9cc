"""goldline bench: measure this machine: the graph alone, the plain loop, the running station."""

import argparse
import json

from rich.console import Console

from edge import bench


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `goldline bench`."""
    parser.description = (
        "Draws a product, teaches it, and measures in one run: the bare graph (graph_ms), register + graph + judge in "
        "one plain loop (limit_ms, limit_fps), and the running station: saturated (sustained_fps) and at half the "
        "limit's load (service_ms, from frame complete in the ring to event received; dropped)."
    )
    parser.epilog = "example:\n  goldline bench --seconds 10 --cameras 4 --json"
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each measurement (default 20)")
    parser.add_argument("--cameras", type=int, default=4, help="simulated cameras (default 4)")
    parser.add_argument("--references", type=int, default=300, help="good parts to teach (default 300)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    console = Console(stderr=True)
    settings = bench.Settings(seconds=arguments.seconds, cameras=arguments.cameras, references=arguments.references)
    with console.status("starting") as status:
        figures = bench.measure(settings, status.update)
    print(json.dumps(figures) if arguments.json else in_words(figures))
    return 0


def in_words(figures: dict[str, object]) -> str:
    """A line for each figure."""
    return "\n".join(f"{name:15} {value}" for name, value in figures.items())
