"""deploy/docker, as far as it can be held without an engine: what it copies, mounts and opens is there, and no more."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge import shipped
from tests.test_packaging import PROJECT, name_of

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "docker"
IMAGES = ("Dockerfile", "Dockerfile.jetson")
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())


def instructions(name: str) -> list[tuple[str, str]]:
    """Each instruction and what follows it, continued lines joined."""
    text = (FOLDER / name).read_text().replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    return [
        (word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line and line[0] != "#")
    ]


def copied(name: str) -> list[str]:
    """Sources of COPY that come from the build's context."""
    words = (shlex.split(rest) for word, rest in instructions(name) if word == "COPY")
    return [source for line in words if not line[0].startswith("--from") for source in line[:-1]]


@pytest.mark.parametrize("name", IMAGES)
def test_everything_that_the_wheel_is_built_from_is_copied_and_nothing_else_is_sent(name: str) -> None:
    sources = copied(name)
    assert all((ROOT / source).exists() for source in sources)
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    wanted = {*wheel["packages"], *wheel["force-include"], "pyproject.toml", PROJECT["project"]["readme"], "LICENSE"}
    assert set(sources) == wanted
    sent = {line[1:] for line in (FOLDER / f"{name}.dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sent == wanted


@pytest.mark.parametrize("name", IMAGES)
def test_the_station_in_an_image_is_its_own_user_and_starts_by_what_install_laid_out(name: str) -> None:
    steps = instructions(name)
    words = [word for word, _ in steps]
    installed = next(at for at, (word, rest) in enumerate(steps) if word == "RUN" and "goldline install" in rest)
    assert ("USER", "goldline") in steps[installed:]
    made = next(at for at, (word, rest) in enumerate(steps) if word == "RUN" and "useradd" in rest)
    assert made < installed < words.index("ENTRYPOINT")
    assert steps[-1] == ("CMD", '["run", "--config", "/etc/goldline/config.toml"]')
    # One onnxruntime per environment.
    assert name != "Dockerfile.jetson" or not any("goldline[" in rest for _, rest in steps)


def test_the_images_arguments_are_extras_of_the_project() -> None:
    assert ("ARG", "EXTRA=cpu") in instructions("Dockerfile")
    assert {"cpu", "gpu"} <= set(PROJECT["project"]["optional-dependencies"])
    assert name_of(PROJECT["project"]["optional-dependencies"]["cpu"][0]) == "onnxruntime"


def mounts(service: str) -> dict[str, str]:
    """Sources by their place in the container."""
    return {line.split(":")[1]: line.split(":")[0] for line in COMPOSE["services"][service]["volumes"]}


def test_every_mounted_folder_is_there_and_every_volume_is_declared() -> None:
    for service in COMPOSE["services"]:
        for source in mounts(service).values():
            assert (FOLDER / source).is_dir() if source.startswith(".") else source in COMPOSE["volumes"], source


def test_what_the_others_are_told_to_read_is_mounted() -> None:
    for service in ("prometheus", "alertmanager"):
        config = next(word for word in COMPOSE["services"][service]["command"] if word.startswith("--config.file="))
        folder, _, name = config.partition("=")[2].rpartition("/")
        assert (FOLDER / mounts(service)[folder] / name).is_file()
    rules = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["rule_files"]
    assert all((ROOT / "deploy/prometheus" / name).is_file() for name in rules)
    grafana = mounts("grafana")
    assert (FOLDER / grafana["/etc/grafana/provisioning"] / "dashboards").is_dir()
    (provider,) = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/goldline.yaml").read_text())[
        "providers"
    ]
    assert list((FOLDER / grafana[provider["options"]["path"]]).glob("*.json"))
    (source,) = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/goldline.yaml").read_text())[
        "datasources"
    ]
    assert source["url"].strip("${}") in COMPOSE["services"]["grafana"]["environment"]


def test_nothing_listens_beyond_loopback() -> None:
    for name, service in COMPOSE["services"].items():
        assert "ports" not in service, name
        told = [*service.get("command", []), *service.get("environment", {}).values()]
        addresses = [found for word in told for found in re.findall(r"\d+\.\d+\.\d+\.\d+", word)]
        assert name == "station" or addresses
        assert set(addresses) <= {"127.0.0.1"}
    # Where Prometheus and Grafana look is where the others listen.
    prometheus = (ROOT / "deploy/prometheus/prometheus.yml").read_text()
    assert "127.0.0.1:9093" in prometheus
    assert "--web.listen-address=127.0.0.1:9093" in COMPOSE["services"]["alertmanager"]["command"]
    assert "--web.listen-address=127.0.0.1:9090" in COMPOSE["services"]["prometheus"]["command"]


def test_the_station_may_do_as_little_as_its_unit_lets_it() -> None:
    station = COMPOSE["services"]["station"]
    assert station["cap_drop"] == ["ALL"] and station["read_only"] is True
    unit = shipped.read("systemd/goldline.service").decode()
    assert f"TasksMax={station['pids_limit']}\n" in unit and f"LimitNOFILE={station['ulimits']['nofile']}\n" in unit
    assert f"TimeoutStopSec={station['stop_grace_period'].rstrip('s')}\n" in unit
    uid = re.search(r"useradd --system --uid (\d+)", (FOLDER / "Dockerfile").read_text())
    assert uid and any(f"uid={uid[1]}" in place for place in station["tmpfs"])
