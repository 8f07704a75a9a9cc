"""Faults of GigE cameras under a running station: how soon each is noticed, how soon pictures come again, what is lost.

    sudo python benchmarks/camera_faults.py [--rate 10] [--cameras stock own] [--modes software free] [--json]

A station with one camera runs in a network namespace of its own, the camera behind a cable in another; the station
triggers itself ten times a second, or the camera runs freely. One fault after the other, for each camera and mode:

    noticed   from the fault to the station's own page saying that the camera is down
    again     from the fault's end to the first event of a picture taken after it
    ERROR     answers while it lasted, by reason: every trigger is answered

Afterwards: triggers == verdicts + in flight by the station's own counters, no trigger answered twice, no PASS without a
picture, and as many frames with missing data dropped as arrived.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from camera_devices import frozen, hanging, killed, lossy, mute, unplugged
from camera_station import assert_right, station, teach

# Name, fault, seconds it lasts, cameras that can have it.
FAULTS = (
    ("packets lost, 5 in 1000", lossy, 6.0, ("stock", "own")),
    ("camera killed, back after 3 s", killed, 3.0, ("stock", "own")),
    ("cable pulled for 2 s", unplugged, 2.0, ("stock", "own")),
    ("cable pulled for 8 s", unplugged, 8.0, ("stock", "own")),
    ("camera stopped (SIGSTOP) for 4 s", hanging, 4.0, ("stock", "own")),
    ("camera mute for 4 s", mute, 4.0, ("own",)),
    ("picture frozen for 4 s", frozen, 4.0, ("own",)),
)
CAMERA = "line"
# Before each fault, so that they do not run into each other.
SETTLE_S = 2.0
# A picture that is on its way when a fault begins still comes.
TAKES_HOLD_NS = 300_000_000


def suffer(bench, fault, seconds):
    """One fault, from its beginning to pictures that come again."""
    before, told = bench.counters(CAMERA), len(bench.listener.events)
    began_ns = time.time_ns()
    with fault(bench.devices[CAMERA]):
        noticed_ns = bench.wait_up(CAMERA, up=False, within_s=seconds)
        time.sleep(max(0.0, seconds - (time.time_ns() - began_ns) / 1e9))
    ended_ns = time.time_ns()
    again_ns = bench.listener.first_picture_ns(CAMERA, ended_ns)
    time.sleep(SETTLE_S)
    events = bench.listener.events[told:]
    return {
        "noticed_s": None if noticed_ns is None else (noticed_ns - began_ns) / 1e9,
        "again_s": (again_ns - ended_ns) / 1e9,
        "judged_in_it": judged_between(events, began_ns, ended_ns),
        **changes(before, bench.counters(CAMERA), events),
    }


def capture_killed(bench):
    """SIGKILL of the camera's process in the station."""
    before, told = bench.counters(CAMERA), len(bench.listener.events)
    began_ns = time.time_ns()
    bench.kill(f"capture@{CAMERA}")
    noticed_ns = bench.wait_up(CAMERA, up=False, within_s=5.0)
    again_ns = bench.listener.first_picture_ns(CAMERA, began_ns)
    time.sleep(SETTLE_S)
    return {
        "noticed_s": None if noticed_ns is None else (noticed_ns - began_ns) / 1e9,
        "again_s": (again_ns - began_ns) / 1e9,
        "judged_in_it": 0,
        **changes(before, bench.counters(CAMERA), bench.listener.events[told:]),
    }


def judged_between(events, began_ns, ended_ns):
    """PASS and FAIL of pictures taken while it lasted; those of its first moment were taken before it took hold."""
    return sum(
        began_ns + TAKES_HOLD_NS < result.captured.timestamp() * 1e9 < ended_ns
        for _, result in events
        if result.captured is not None and result.verdict != "ERROR"
    )


def changes(before, after, events):
    """What the station counted meanwhile, and the reasons it gave."""
    reasons = {}
    for _, result in events:
        if result.reason is not None:
            reasons[str(result.reason)] = reasons.get(str(result.reason), 0) + 1
    grown = {key: int(after[key] - before[key]) for key in after}
    return {
        "triggers": grown.get("triggers_total", 0),
        "incomplete": grown.get("camera_incomplete_frames_total", 0),
        # Those of a stream's first frames, and those nobody asked for, are dropped for that.
        "unfit_dropped": sum(
            grown.get(("frames_dropped_total", why), 0) for why in ("incomplete", "settling", "stale")
        ),
        "reasons": reasons,
        "causes": {
            key[1]: count for key, count in grown.items() if count and key[0] == "camera_reconnects_total" and key[1:]
        },
    }


def run(taught, directory, kind, mode, rate_hz):
    """Every fault on a station of its own, and its books afterwards."""
    rows = []
    with station(taught, directory, {CAMERA: (kind, mode)}, rate_hz) as bench:
        bench.listener.first_picture_ns(CAMERA, time.time_ns())
        time.sleep(SETTLE_S)
        for name, fault, seconds, kinds in FAULTS:
            if kind in kinds:
                rows.append({"camera": kind, "mode": mode, "fault": name, **suffer(bench, fault, seconds)})
                show(rows[-1])
        killed_row = {"camera": kind, "mode": mode, "fault": "capture killed (SIGKILL)", **capture_killed(bench)}
        show(killed_row)
        books = bench.books()
    return [*rows, killed_row], {"camera": kind, "mode": mode, **books}


def show(row):
    noticed = "—" if row["noticed_s"] is None else f"{row['noticed_s']:.2f}"
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(row["reasons"].items())) or "none"
    causes = ", ".join(row["causes"]) or "—"
    print(
        f"| {row['camera']} | {row['mode']} | {row['fault']} | {noticed} | {row['again_s']:.2f} | {causes} | {reasons} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=10.0, help="triggers or frames a second")
    parser.add_argument("--cameras", nargs="+", default=["stock", "own"], choices=["stock", "own"])
    parser.add_argument("--modes", nargs="+", default=["software", "free"], choices=["software", "free"])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    print(
        "| camera | mode | fault | noticed s | again s | opened anew because | ERROR |\n|---|---|---|---|---|---|---|"
    )
    rows, books = [], []
    with tempfile.TemporaryDirectory(prefix="goldline-faults-") as name:
        taught = Path(name, "taught")
        teach(taught)
        for kind in arguments.cameras:
            for mode in arguments.modes:
                found = run(taught, Path(name, f"{kind}-{mode}"), kind, mode, arguments.rate)
                rows += found[0]
                books.append(found[1])
                print(" · ".join(f"{key} {value}" for key, value in found[1].items()), flush=True)
    if arguments.json:
        print(json.dumps({"rows": rows, "books": books}))
    for row in rows:
        assert row["incomplete"] <= row["unfit_dropped"], "a frame with missing data went further"
        assert row["judged_in_it"] == 0 or "frozen" not in row["fault"], "a frozen picture was judged"
    for each in books:
        assert_right(each)


if __name__ == "__main__":
    main()
