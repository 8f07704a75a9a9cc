"""goldline fleet key: the key that bundles are signed with."""

import argparse


def run(arguments: argparse.Namespace) -> int:
    """Make it. Raises GoldlineError."""
    from edge.fleet.signing import PUBLIC, new_key

    identity = new_key(arguments.file)
    public = arguments.file.with_suffix(PUBLIC)
    print(f"key {identity}: {arguments.file} signs; keep it off the stations, and a copy of it in a safe")
    print(f"{public}: put it into [fleet] trusted of every station (default: keys/fleet below its state directory)")
    return 0
