"""A device joins a fleet by two commands; what cannot be is one line; what is missing is said."""

import asyncio
import io
import json
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

import edge.__main__
from edge.border_config import FleetConfig
from edge.config import Station
from tests.needs import needs_module

needs_module("nats", "fleet")

import nats  # noqa: E402

from edge.fleet.carry import carry_on  # noqa: E402
from edge.fleet.leaf import connected  # noqa: E402
from tests.fleet_bench import MIB, Hub, NatsServer, Uplink, event, heard, held_ports, killed  # noqa: E402
from tests.publish_line import until  # noqa: E402

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def goldline(config: Path, *words: object) -> Done:
    """`goldline fleet`, in the folder of this configuration."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(config.parent), redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["goldline", "fleet", *map(str, words)])
        code = edge.__main__.main()
    return Done(code, out.getvalue(), err.getvalue())


def test_a_device_joins_by_two_commands(tmp_path):
    """On the device, at the hub, and its events come; a reader with a key of its own reads them and nothing else."""
    (port,) = held_ports(1)
    config = tmp_path / "config.toml"
    config.write_text(f'station_id = "cell"\n[fleet]\nserver = "nats://127.0.0.1:{port}"\n')
    hub = Hub(tmp_path / "hub")
    at_hub = ("--server", f"nats://127.0.0.1:{hub.port}", "--devices", hub.folder / "devices.toml")
    operator = (*at_hub, "--nkey", tmp_path / "operator.nk")
    assert goldline(config, "hub", "new", "operator", "--operator", *at_hub).returncode == 0
    hub.seed = (tmp_path / "operator.nk").read_text()
    assert (tmp_path / "operator.nk").stat().st_mode & 0o777 == 0o600
    with killed(hub):
        hub.start()
        assert goldline(config, "hub", "init", "--max-gb", "0.1", *operator).returncode == 0
        url = f"nats-leaf://127.0.0.1:{hub.leaf_port}"
        joined = goldline(config, "join", url, "--store", tmp_path / "store")
        assert joined.returncode == 0, joined.stderr
        assert (tmp_path / "leaf.conf").stat().st_mode & 0o777 == 0o640
        again = goldline(config, "join", url, "--store", tmp_path / "store")
        assert again.returncode == 2
        assert "is there already" in again.stderr
        added = joined.stdout.splitlines()[-1].split()[2:]
        assert goldline(config, *added, *operator).returncode == 0
        assert goldline(config, "hub", "new", "mes", *operator).returncode == 0
        hub.reload()
        listed = json.loads(goldline(config, "hub", "list", "--json", *operator).stdout)
        assert set(listed["devices"]) == {"cell"}
        leaf = NatsServer(tmp_path / "leaf", port, (tmp_path / "leaf.conf").read_text())
        with killed(leaf):
            leaf.start()
            asyncio.run(say_one(f"nats://127.0.0.1:{port}"))
            assert hub.count() == 1
            assert [event["n"] for event in heard(hub, 1, tmp_path / "mes.nk", "mes")] == [1]
            with pytest.raises((nats.errors.Error, TimeoutError)):
                hub.ask(lambda js: js.delete_stream("PLANT"), (tmp_path / "mes.nk").read_text(), within_s=1)
            removed = goldline(config, "hub", "remove", "cell", *operator)
            assert "systemctl restart goldline-hub" in removed.stdout
            # A reload leaves a connection that is there: so the words above.
            hub.reload()
            assert hub.devices_connected() == 1
            hub.kill()
            hub.start()
            until(lambda: hub.has_said("authentication error", 1), "it is let in no more")
            assert hub.devices_connected() == 0
        assert json.loads(goldline(config, "hub", "list", "--json", *operator).stdout)["devices"] == {}


async def say_one(url: str) -> None:
    async with connected(FleetConfig(server=url), "cell") as leaf:
        await leaf.keep_stream(MIB, is_there=False)
        one = event(uuid4(), 1)
        await (await leaf.publish(one.subject, one.body, one.headers(None)))
        carrying = asyncio.create_task(carry_on(leaf))
        async with asyncio.timeout(60):
            left = 1
            while left:
                await asyncio.sleep(0.05)
                left = (await leaf.state()).state.messages
        carrying.cancel()


@pytest.mark.parametrize(
    "words",
    [
        ("join", "http://hub"),
        ("join", "nats-leaf://user:pass@hub"),
        ("hub", "add", "Cell", "U"),
        ("hub", "add", "cell", "SUAHZIRV5P3GT4J3JLX2B4WRJC4FKTLWT34IKE2GAKASX56QRR6HBZJD6I"),
        # The hub's own domain: a device of that name would be let into its questions.
        ("hub", "add", "hub", "U" + "A" * 55),
        ("hub", "new", "no/name", "--operator"),
        ("hub", "init", "--max-gb", "1"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, words):
    config = tmp_path / "config.toml"
    config.write_text('station_id = "cell"\n[fleet]\n')
    done = goldline(config, *words)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert not [*tmp_path.glob("*.conf"), *tmp_path.rglob("*.nk")]


def test_a_station_without_the_library_says_so_and_goes_on(tmp_path, monkeypatch, capfd):
    missing = tmp_path / "missing" / "nats"
    missing.mkdir(parents=True)
    (missing / "__init__.py").write_text("raise ModuleNotFoundError('No module named nats', name='nats')\n")
    monkeypatch.setenv("PYTHONPATH", str(missing.parent))
    station = Station.model_validate({"state_dir": tmp_path / "state", "fleet": {}})
    with killed(Uplink(station)) as (uplink,):
        uplink.start()
        until(lambda: "pip install 'goldline[fleet]'" in capfd.readouterr().err, "it says what is missing")
        beats = uplink.child.page.loop_count
        until(lambda: uplink.child.page.loop_count > beats + 2, "and beats on")
