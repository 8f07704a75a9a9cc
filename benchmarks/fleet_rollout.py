"""Ten stations, a product rolled out to them in stages, and everything that may die on the way.

    python benchmarks/fleet_rollout.py [--stations 10] [--running 2] [--kills 8] [--json]

A hub and a NATS server beside each station, all real, on this machine. `--running` stations are whole ones that judge
parts; of the others the station's side of roll-outs runs in this process, each over its own server and on its own disk.
Two versions of a product, taught from drawn parts:
1. the first to every station at once;
2. the second in stages: one station, 30 %, all. In the last stage the hub is killed and started again, and one station
   is a process that is killed again and again while it takes the product;
3. one device is replaced from nothing: another disk, the same id and key;
4. back to the first, all at once.
At the end every station has the same product on its disk, and the running ones have judged by nothing but these two,
by their own events; else the exit code is 1.
"""

import asyncio
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from command_line import Parser, at_least, cannot, need, run, without_module, without_tests

need(without_tests(), without_module("nats", "fleet"), without_module("cryptography", "fleet"))

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' fleet of real parts

from edge import log, rehearsal  # noqa: E402
from edge.config import LogConfig  # noqa: E402
from edge.fleet import product_files  # noqa: E402
from edge.fleet.buckets import HubError  # noqa: E402
from tests.fleet_plant import Plant  # noqa: E402
from tests.stations import record  # noqa: E402

SIZE = (320, 240)
CAMERA = {"source": "simulated", "width": SIZE[0], "height": SIZE[1], "rate_hz": 2.0, "prerendered": 10}
RECIPE = '[[regions]]\nname = "part"\ntemplate = false\nanomaly = { working_px = 128, bank = "positional" }\n'
HUB_AWAY_S = 5.0


def teach(folder):
    """The drawn product, taught from a dozen pictures."""
    rehearsal.draw_good_parts(folder / "good", 12, SIZE)
    config = rehearsal.write_config(folder, {"left": CAMERA})
    recipe = folder / "pipelines" / rehearsal.PRODUCT / "recipe.toml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(RECIPE)
    rehearsal.goldline("teach", rehearsal.PRODUCT, "--good", folder / "good", "--config", config)


@contextmanager
def turning(plant, names):
    """These stations' sides of roll-outs, on a thread of this process."""
    is_over = threading.Event()

    async def follow(rollouts, _):
        while not is_over.is_set():
            await rollouts.turn()
            await asyncio.sleep(2.0)

    async def turn(name):
        while not is_over.is_set():
            with suppress(HubError):
                await plant.act(name, follow)
            await asyncio.sleep(0.5)

    async def turn_all():
        await asyncio.gather(*map(turn, names))

    thread = threading.Thread(target=lambda: asyncio.run(turn_all()))
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


class Operator:
    """A roll-out as an operator drives it: the command, and the second at which each stage began."""

    def __init__(self, plant, *words):
        self._began = time.monotonic()
        self.process = subprocess.Popen(
            plant.command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.stages = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stderr:
            if line.startswith("stage"):
                self.stages.append(time.monotonic() - self._began)
            elif line.strip():
                print(line.rstrip(), file=sys.stderr)

    def wait_for_stage(self, number):
        while len(self.stages) < number:
            if self.process.poll() is not None:
                raise SystemExit(f"the roll-out ended: {self.process.stdout.read()}")
            time.sleep(0.05)

    def done(self):
        """Seconds of each stage."""
        out = self.process.stdout.read()
        code = self.process.wait()
        ends = [*self.stages[1:], time.monotonic() - self._began]
        if code:
            print(out, file=sys.stderr)
        return code, [round(end - begin, 1) for begin, end in zip(self.stages, ends, strict=True)]


def killed_again_and_again(plant, name, kills):
    """`goldline fleet pull`, killed ever later on its way, then let through. How often it died by it."""
    command = [sys.executable, "-m", "edge", "fleet", "pull", "--config", str(plant.config(plant.stations[name]))]
    # Most of the first half second is the start of Python.
    whole = time.monotonic()
    subprocess.run(command, capture_output=True, check=False)
    whole, deaths = time.monotonic() - whole, 0
    shutil.rmtree(plant.stations[name].state_dir / "fleet", ignore_errors=True)
    for death in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with suppress(subprocess.TimeoutExpired):
            process.wait((0.5 + 0.5 * death / kills) * whole)
        process.send_signal(signal.SIGKILL)
        deaths += process.wait() == -signal.SIGKILL
    plant.pull(name)
    return deaths


def transitions(pairs):
    """Each that differs from the one before it."""
    return [pair for at, pair in enumerate(pairs) if not at or pairs[at - 1] != pair]


def judged(plant, name):
    """Of a running station: how many parts, answered late or not judged; and by what, in order."""
    results = [event.data for event in record(plant.config(plant.stations[name]))]
    ids = [one.trigger_id for one in results]
    pairs = [(one.recipe_sha256, one.reference_set) for one in results if one.recipe_sha256 is not None]
    return {
        "parts": len(results),
        "answered_twice": len(ids) - len(set(ids)),
        "late": sum(not one.on_time for one in results),
        "not_judged": sum(one.verdict == "ERROR" for one in results),
        "products": transitions(pairs),
    }


def measure(folder, stations, running, kills):
    """Everything in the order of this script's own words."""
    teach(folder / "taught")
    plant = Plant(folder, folder / "taught", CAMERA)
    names = [f"s{number:02}" for number in range(1, stations + 1)]
    for name in names:
        plant.add(name)
    bundle_bytes = (folder / plant.second.archive_sha256).stat().st_size
    found = {"stations": stations, "running": running, "bundle_bytes": bundle_bytes}
    with ExitStack() as stack:
        stack.callback(lambda: [one.kill() for one in (plant.hub, *plant.leaves.values())])
        plant.start()
        plant.enroll(names)
        for one in (plant.first, plant.second):
            plant.put(one)
        first = Operator(plant, "roll-out", rehearsal.PRODUCT, "--all", "--bundle", plant.first.archive_sha256)
        with turning(plant, names):
            _, found["all_at_once_s"] = first.done()
        runs = names[:running]
        daemons = [stack.enter_context(rehearsal.running(plant.config(plant.stations[name]))) for name in runs]
        found |= in_stages(plant, names, runs, kills)
        found["replaced_s"] = replace(plant, names[-2])
        found["same_product"] = len(on_disks(plant)) == 1
        found |= go_back(plant, [name for name in names if name not in runs])
        found["fetch_mb_per_s"] = round(statistics.median(plant.fetch_rate(names[-3]) for _ in range(5)), 1)
        for daemon in daemons:
            daemon.stop()
    return found | judgement(plant, runs)


def in_stages(plant, names, runs, kills):
    """The second version, while the hub and a station die."""
    shares = ["--stations", names[0], "--then", "30%,100%"]
    with turning(plant, [name for name in names[:-1] if name not in runs]):
        second = Operator(plant, "roll-out", rehearsal.PRODUCT, *shares, "--bundle", plant.second.archive_sha256)
        second.wait_for_stage(3)
        plant.hub.kill()
        time.sleep(HUB_AWAY_S)
        plant.hub.start()
        deaths = killed_again_and_again(plant, names[-1], kills)
        code, stages_s = second.done()
        found = {"stages_s": stages_s, "deaths_while_taking": deaths, "command_ended_by_the_hub": code == 2}
        if code:
            code, found["resumed_s"] = Operator(plant, "roll-out", rehearsal.PRODUCT, "--resume").done()
    return found | {"roll_out_code": code}


def go_back(plant, names):
    """To the first version, all at once."""
    began = time.monotonic()
    with turning(plant, names):
        back = Operator(plant, "roll-back", rehearsal.PRODUCT)
        back.process.stdout.read()
        code = back.process.wait()
    return {"back_code": code, "back_s": round(time.monotonic() - began, 1)}


def on_disks(plant):
    return {product_files.on_disk(one, rehearsal.PRODUCT) for one in plant.stations.values()}


def judgement(plant, runs):
    """Whether all is as promised, by what lies on the disks and by the running stations' own events."""
    first, second = ((one.recipe_sha256, one.reference_set) for one in (plant.first, plant.second))
    each = [judged(plant, name) for name in runs]
    is_same, is_known = on_disks(plant) == {first}, all(one["products"] == [first, second, first] for one in each)
    return {
        "running_stations": each,
        "same_after_going_back": is_same,
        "judged_by_these_alone": is_known and not any(one["answered_twice"] for one in each),
    }


def is_right(found):
    return (
        not found["roll_out_code"] and not found["back_code"] and found["same_product"]
        and found["same_after_going_back"] and found["judged_by_these_alone"]
    )  # fmt: skip


def replace(plant, name):
    """A new disk, for the station and its server: seconds to having the product again."""
    station, leaf = plant.stations[name], plant.leaves[name]
    leaf.kill()
    leaf.wipe()
    for folder in (station.state_dir / "references", station.state_dir / "fleet", station.pipelines_dir):
        shutil.rmtree(folder)
    began = time.monotonic()
    leaf.start()
    plant.pull(name)
    return round(time.monotonic() - began, 1)


def show(found):
    """In words."""
    print(
        f"{found['stations']} stations, {found['running']} of them judging; a bundle of {found['bundle_bytes']:,} bytes"
    )
    print(f"all at once: {found['all_at_once_s'][0]} s · stages: {found['stages_s']} s, the hub killed in the last")
    print(
        f"killed {found['deaths_while_taking']} times while taking it · replaced from nothing: {found['replaced_s']} s"
    )
    print(
        f"the command ended with the hub: {found['command_ended_by_the_hub']}; gone on with: {found.get('resumed_s')} s"
    )
    print(f"back, all at once: {found['back_s']} s · a station fetches {found['fetch_mb_per_s']} MB/s")
    for one in found["running_stations"]:
        print(f"a running station: {one['parts']} parts, {one['late']} late, {one['not_judged']} not judged")
    print("every station has the same, and none has judged by anything else" if is_right(found) else f"WRONG: {found}")


def main():
    parser = Parser(__doc__)
    parser.add_argument("--stations", type=at_least(4), default=10)
    parser.add_argument("--running", type=at_least(1), default=2, help="whole stations")
    parser.add_argument("--kills", type=at_least(0), default=8)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.running > arguments.stations - 3:
        cannot("--running: three stations at least are not whole ones")
    log.setup(LogConfig(level="warning"), "benchmark")
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        found = measure(Path(folder), arguments.stations, arguments.running, arguments.kills)
    if arguments.json:
        print(json.dumps(found))
    else:
        show(found)
    return 0 if is_right(found) else 1


if __name__ == "__main__":
    run(main)
