"""URLs: which can be opened, what of one is shown, and that no command and no refusal shows more."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from edge.camera_config import StreamCamera
from edge.cameras.camera import CameraConfigError
from edge.cameras.discovery import address_of
from edge.cameras.naming import meant
from edge.config import load_station
from edge.errors import ConfigError
from edge.urls import may_be_shown, openable, without_secrets
from tests.camera_words import STATION, refused, said

SECRETS = ("inspector", "p4ss", "t0ken", "w0rd")
URL = "rtsp://inspector:p4ss@127.0.0.1:9/cam?token=t0ken"


def has_secret(text: str) -> bool:
    return any(secret in text for secret in SECRETS)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://u:p%40@cam.local:554/a/b?pw=1#c", "rtsp://cam.local:554/a/b"),
        ("rtsp://u:p@ss@cam.local/a", "rtsp://cam.local/a"),
        ("http://[::1]:80/", "http://[::1]:80/"),
        ("http://cam/user@home", "http://cam/user@home"),
        # An unescaped character of the password ends the host: what comes after it may be the password's rest.
        ("rtsp://u:p/w@cam/a", "rtsp://***"),
        ("rtsp://u:1/w@cam/a", "rtsp://***"),
        ("rtsp://u:1?w@cam/a", "rtsp://***"),
        ("rtsp://u/x:p@cam/a", "rtsp://***"),
        ("rtsp://u:p#w@cam/a", "rtsp://***"),
        # A password of two words: a line of the log would not show where it ends.
        ("rtsp://u:p w@cam/a", "rtsp://***"),
        ("rtsp://[::1/a", "rtsp://***"),
        ("u:p@cam/a", "***"),
    ],
)
def test_secrets_are_left_out_of_what_is_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


def test_what_has_no_secret_is_shown_as_it_is() -> None:
    for text in ("tcp://127.0.0.1:*", "ipc:///run/live", "SN-7", "Mode?", "a@b"):
        assert may_be_shown(text) == text


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://",
        "rtsp:///cam",
        "rtsp://[::1/a",
        "rtsp://cam:99999/",
        "rtsp://u:p4ss/w0rd@cam/",
        "rtsp://u:p4ss w0rd@cam",
    ],
)
def test_a_url_that_nobody_can_open_is_refused_without_being_told(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must name a host") as refusal:
        openable(url)
    assert not has_secret(str(refusal.value))
    with pytest.raises(ValidationError, match="must name a host"):
        StreamCamera(source="stream", url=url)
    with pytest.raises(CameraConfigError, match=r"^rtsp://\*\*\*: must name a host"):
        meant(url, {})
    (tmp_path / "config.toml").write_text(f'[cameras.gate]\nsource = "stream"\nurl = "{url}"\n')
    with pytest.raises(ConfigError, match=r'\[cameras.gate\] url = "rtsp://\*\*\*": must name a host'):
        load_station(tmp_path / "config.toml", {})


@pytest.mark.parametrize(
    "line", [f'url = "x{URL}"', f'ulr = "{URL}"', f'url = "{URL.partition("//")[2]}"', f'transport = "{URL}"']
)
def test_a_refused_configuration_shows_no_secret(line: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'[cameras.gate]\nsource = "stream"\n{line}\n')
    with pytest.raises(ConfigError, match="gate") as refusal:
        load_station(tmp_path / "config.toml", {})
    assert not has_secret(str(refusal.value))


def test_no_command_shows_a_secret(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(STATION + f'[cameras.gate]\nsource = "stream"\nurl = "{URL}"\n')
    for camera in (URL, "gate", f"x{URL}"):
        for words in (("info", camera), ("watch", camera), ("snap", camera, "--out", str(tmp_path / "a.png"))):
            told = refused(config, *words)
            assert "rtsp://127.0.0.1:9/cam" in told and not has_secret(told)
    told = said(config, "list")
    assert "rtsp" in told and not has_secret(told)
    assert address_of(load_station(config, {}).cameras["gate"]) == "rtsp://127.0.0.1:9/cam"
