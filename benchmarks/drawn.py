"""How well drawn bad parts are told from good ones: objects at a fixed place or any angle, and surfaces.

    python benchmarks/drawn.py [--json] [--sets screw disc …] [--good 100] [--bad 12] [--tiles 2 2]

Each set is drawn, taught and evaluated through the library, every setting but that of tiles being the default one. The defects are made in
the material, by other means than the deviations that teaching draws into good images; none was drawn to be found. Needs
`pip install .[cpu]` and nothing else.
"""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from drawn_parts import PARTS
from drawn_surfaces import SURFACES
from judging import HEAD, PRODUCT, Row, measure

SETS = PARTS | SURFACES


def draw(name: str, folder: Path, good: int, bad: int) -> None:
    """The set in `folder`, as judging.py has sets: so many good images to teach and to test, so many of each defect."""
    one, defects = SETS[name]
    # Each set has pictures of its own, whichever others are drawn.
    random = np.random.default_rng(list(name.encode()))
    parts = [("train/good", None, good), ("test/good", None, good), *((f"test/{kind}", kind, bad) for kind in defects)]
    for where, defect, count in parts:
        (folder / where).mkdir(parents=True)
        for index in range(count):
            assert cv2.imwrite(str(folder / where / f"{index:04d}.png"), one(random, defect))


def evaluated(name: str, good: int, bad: int, tiles: list[int] | None) -> Row:
    """One set, taught and evaluated, and forgotten."""
    with tempfile.TemporaryDirectory() as directory:
        folder, recipe = Path(directory) / name, Path(directory) / "pipelines" / PRODUCT / "recipe.toml"
        draw(name, folder, good, bad)
        if tiles is not None:
            recipe.parent.mkdir(parents=True)
            recipe.write_text(f'[[regions]]\nname = "part"\n[regions.anomaly]\ntiles = {tiles}\n')
        return measure(folder, Path(directory))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, metavar="SET")
    parser.add_argument("--good", type=int, default=100, help="good images to teach, and as many to test")
    parser.add_argument("--bad", type=int, default=12, help="images of each defect")
    parser.add_argument("--tiles", type=int, nargs=2, help="columns and rows; without it teaching decides")
    arguments = parser.parse_args()
    rows = []
    if not arguments.json:
        print(HEAD)
    for name in arguments.sets:
        rows.append(evaluated(name, arguments.good, arguments.bad, arguments.tiles))
        if not arguments.json:
            print(rows[-1], flush=True)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    for kind, sets in (("objects", PARTS), ("surfaces", SURFACES)):
        found = [row.auroc for row in rows if row.set in sets]
        if found:
            print(f"{kind}: mean AUROC {np.mean(found):.3f}")


if __name__ == "__main__":
    main()
