"""What the project says about itself agrees with itself: dependencies, lock, set-up, what imports what."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tools import choose_extra

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def requirements() -> dict[str, list[str]]:
    """Names of the distributions asked for, by the heading they have in docs/dependencies.md."""
    project = PROJECT["project"]
    return {
        "Always": project["dependencies"],
        **{f"Extra `{extra}`": asked for extra, asked in project["optional-dependencies"].items()},
        "Group `test`": PROJECT["dependency-groups"]["test"],
        "Group `lint`": PROJECT["dependency-groups"]["lint"],
        "Build": PROJECT["build-system"]["requires"],
    }


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=!~ ]", requirement)[0]


def documented(path: Path) -> dict[str, dict[str, list[str]]]:
    """Cells after the first of each table row, by name in the first cell, by heading."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in path.read_text().splitlines():
        if line.startswith("## "):
            section = sections.setdefault(line.removeprefix("## "), {})
        elif line.startswith("| `"):
            name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            section[name.strip("`")] = cells
    return sections


def test_every_dependency_is_documented_with_reason_and_licence():
    tables = documented(ROOT / "docs" / "dependencies.md")
    for heading, wanted in requirements().items():
        assert set(tables[heading]) == {name_of(requirement) for requirement in wanted}, heading
    for rows in tables.values():
        for name, cells in rows.items():
            assert len(cells) == 2, name
            assert all(cells), name


def test_debian_packages_of_ci_are_documented():
    script = (ROOT / ".ci" / "run").read_text()
    block = script.partition("packages=(")[2].partition("\n)")[0]
    packages = {line.split()[0] for line in block.splitlines() if line.strip()}
    assert packages
    assert packages <= set(documented(ROOT / "docs" / "dependencies.md")["Debian packages"])


def test_the_lock_file_holds_every_dependency():
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    locked = {package["name"] for package in lock["package"]}
    # The lock writes names as the package index compares them.
    asked = {
        name_of(requirement).lower()
        for heading, rows in requirements().items()
        if heading != "Build"
        for requirement in rows
    }
    assert asked <= locked


def test_no_gpu_wheel_is_wanted_without_an_nvidia_device(tmp_path):
    (tmp_path / "dri").mkdir()
    assert choose_extra.find_device(tmp_path) is None
    (tmp_path / "nvidiactl").touch()
    assert choose_extra.find_device(tmp_path) is None
    (tmp_path / "nvidia0").touch()
    assert choose_extra.find_device(tmp_path) == str(tmp_path / "nvidia0")


def test_a_jetson_counts_as_an_nvidia_device(tmp_path):
    (tmp_path / "nvhost-gpu").touch()
    assert choose_extra.find_device(tmp_path) is not None


@pytest.mark.skipif(choose_extra.find_device() is not None, reason="this machine may have CUDA")
def test_the_probe_says_why_no_session_runs_on_cuda():
    problem = choose_extra.run_session()
    assert problem
    assert "\n" not in problem


HEAVY = ("cv2", "onnxruntime", "onnx")


@pytest.mark.parametrize("module", ["edge.publish", "edge.supervisor"])
def test_the_smallest_processes_do_not_load_what_only_inspection_needs(module):
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout == "[]\n"
