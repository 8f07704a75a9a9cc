"""goldline fleet init, roll-out, roll-back: what the operator does to the plant's products."""

import argparse
import asyncio
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.fleet.buckets import OperatorBuckets
    from edge.fleet.plan import Rollout, Rules
    from edge.fleet.rollout import Conductor
    from edge.fleet.stages import Look


def run(arguments: argparse.Namespace) -> int:
    """Do what the verb says; 1 where a station refused. Raises GoldlineError."""
    return asyncio.run(_run(arguments))


async def _run(arguments: argparse.Namespace) -> int:
    from edge.fleet.buckets import OperatorBuckets, connected, operator_options

    async with connected(arguments.server, **operator_options(arguments.nkey)) as client:
        buckets = OperatorBuckets(client)
        if arguments.verb == "init":
            await buckets.make(arguments.replicas)
            print("the hub's buckets are there")
            return 0
        return await (_roll_out if arguments.verb == "roll-out" else _roll_back)(arguments, buckets)


def _tell(text: str) -> None:
    if sys.stderr.isatty() or text.startswith("stage"):
        print(text, file=sys.stderr)


def _conductor(arguments: argparse.Namespace, buckets: "OperatorBuckets") -> "Conductor":
    from edge.fleet.rollout import Conductor
    from edge.fleet.signing import load_signer, load_trusted

    signer = load_signer(arguments.key)
    # Public keys beside it are those of other operators, whose documents may be changed.
    return Conductor(buckets, arguments.product, signer, load_trusted(arguments.key.absolute().parent), _tell)


# --- roll-out


async def _roll_out(arguments: argparse.Namespace, buckets: "OperatorBuckets") -> int:
    conductor = _conductor(arguments, buckets)
    if arguments.resume:
        rollout = await conductor.resume()
    else:
        await buckets.make()
        stages = await _stages(arguments, buckets)
        name = await _bundle(arguments, buckets)
        rollout = await conductor.begin(name, stages, _rules(arguments), replaces_local=arguments.replace_local)
    return _print_rollout(arguments, await conductor.drive(rollout))


async def _stages(arguments: argparse.Namespace, buckets: "OperatorBuckets") -> tuple[tuple[str, ...], ...]:
    """The stations of each stage. Raises GoldlineError."""
    from edge.commands.fleet_words import names, share
    from edge.errors import GoldlineError
    from edge.fleet.stages import planned
    from edge.fleet.words import STATE, WANTED

    known = sorted({*await buckets.all(STATE), *await buckets.all(WANTED)})
    first = names(arguments.stations) if arguments.stations else []
    if not known and not first:
        raise GoldlineError("no station has been heard of yet: is [fleet] in its configuration, and is it running?")
    if strange := [one for one in first if one not in known]:
        raise GoldlineError(
            f"{strange[0]}: no station of this name has been heard of; known: {', '.join(known) or 'none'}"
        )
    then = [share(one) for one in arguments.then.split(",")] if arguments.then else []
    order = [*first, *(one for one in known if one not in first)]
    if first:
        begun = len(first) / len(order)
        return planned(order, [begun, *(one for one in then if one > begun)])
    return planned(order, [1.0 if arguments.all else share(arguments.share), *then])


async def _bundle(arguments: argparse.Namespace, buckets: "OperatorBuckets") -> str:
    """The name of the bundle, which is at the hub then. Raises GoldlineError."""
    from edge.config import load_station
    from edge.errors import GoldlineError
    from edge.fleet.product_files import write_bundle
    from edge.fleet.signing import load_signer

    if arguments.bundle:
        if not await buckets.has(arguments.bundle):
            raise GoldlineError(f"{arguments.bundle}: the hub has no bundle of this name")
        return arguments.bundle
    station, signer = load_station(arguments.config), load_signer(arguments.key)
    with tempfile.TemporaryDirectory(prefix="goldline-") as folder:
        path = Path(folder, "bundle")
        manifest = await asyncio.to_thread(write_bundle, station, arguments.product, path, datetime.now(UTC), signer)
        is_new = await buckets.put(manifest.archive_sha256, path)
        _tell(
            f"{manifest.archive_sha256[:12]}: {manifest.archive_bytes:,} bytes, {'put there' if is_new else 'there already'}"
        )
    return manifest.archive_sha256


def _rules(arguments: argparse.Namespace) -> "Rules":
    from edge.commands.fleet_words import seconds, share
    from edge.fleet.plan import Rules

    return Rules(
        wait_s=seconds(arguments.wait),
        parts=arguments.parts,
        margin=share(arguments.margin),
        patience_s=seconds(arguments.patience),
    )


def _print_rollout(arguments: argparse.Namespace, rollout: "Rollout") -> int:
    import msgspec

    if arguments.json:
        print(msgspec.json.encode(rollout).decode())
    elif rollout.state == "done":
        count = sum(map(len, rollout.stages))
        print(f"{rollout.product}: {count} station(s) judge by {rollout.bundle[:12]}")
    else:
        print(f"{rollout.product}: stopped in stage {rollout.stage + 1} of {len(rollout.stages)}: {rollout.problem}")
        print("nothing more is rolled out; --resume goes on, goldline fleet roll-back takes back what was")
    return 0 if rollout.state == "done" else 1


# --- roll-back


async def _roll_back(arguments: argparse.Namespace, buckets: "OperatorBuckets") -> int:
    from edge.commands.fleet_words import seconds
    from edge.fleet.plan import Rules

    conductor = _conductor(arguments, buckets)
    targets, without = await _targets(arguments, conductor)
    seen = await conductor.roll_back(targets, Rules(patience_s=seconds(arguments.patience)))
    return _print_back(arguments, targets, without, seen)


async def _targets(arguments: argparse.Namespace, conductor: "Conductor") -> tuple[dict[str, str], list[str]]:
    """What each station is to go back to, and the stations that have nothing to go back to. Raises GoldlineError."""
    from edge.commands.fleet_words import names
    from edge.errors import GoldlineError
    from edge.fleet.stages import before_of

    rollout, _ = await conductor.read()
    said = await conductor.acknowledged()
    if rollout is None:
        raise GoldlineError(f"{arguments.product}: nothing was rolled out")
    given = [one for stage in rollout.stages[: rollout.stage + 1] for one in stage]
    stations = names(arguments.stations) if arguments.stations else given
    if strange := [one for one in stations if one not in said]:
        raise GoldlineError(f"{strange[0]}: no station of this name has been heard of")
    fallback = rollout.history[-1] if rollout.history else None
    found = {one: before_of(arguments.product, rollout.bundle, said.get(one)) or fallback for one in stations}
    targets = {station: bundle for station, bundle in found.items() if bundle is not None}
    if not targets:
        raise GoldlineError(f"{arguments.product}: no station has anything to go back to")
    return targets, sorted(set(stations) - set(targets))


def _print_back(arguments: argparse.Namespace, targets: dict[str, str], without: list[str], seen: "Look") -> int:
    from edge.fleet.stages import Stopped

    problem = f"{seen.station}: {seen.problem}" if isinstance(seen, Stopped) else None
    if arguments.json:
        print(json.dumps({"product": arguments.product, "stations": targets, "without": without, "problem": problem}))
        return 1 if problem else 0
    if without:
        print(f"nothing to go back to: {', '.join(without)}")
    print(problem or f"{arguments.product}: {len(targets)} station(s) judge by what they judged by before")
    return 1 if problem else 0
