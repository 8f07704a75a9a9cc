"""Writes the files of `keys.py`: whole or not at all, on the disk when it returns, and for nobody else to read."""

import fcntl
import json
import os
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from edge import schema
from edge.camera_config import Name
from edge.errors import GoldlineError
from edge.keys import (
    CLIENTS_FILE,
    PUBLIC_FILE,
    STATION_FILE,
    Client,
    ClientKeys,
    Clients,
    StationKey,
    Zone,
    load_clients,
    new_pair,
)

FOLDER_MODE = 0o700
STATION_HEAD = "# This station's pair of keys. Who has the secret is this station to every client.\n"
CLIENTS_HEAD = "# Who is let in. Written by `goldline keys`; the running station reads it again when it changes.\n"
CLIENT_HEAD = "# What {name} proves itself with to the station. Who has the secret is {name}: keep it with mode 0600.\n"
_names = TypeAdapter[str](Name)


def new_station_key(keys_dir: Path, *, is_replaced: bool) -> StationKey:
    """Make the station's pair. Raises GoldlineError where there is one that is not to be replaced."""
    with _changing(keys_dir):
        path = keys_dir / STATION_FILE
        if path.exists() and not is_replaced:
            raise GoldlineError(
                f"{path}: is there already; --replace makes another, and every client needs its public key"
            )
        public, secret = new_pair()
        _write(path, STATION_HEAD + _lines({"public": public, "secret": secret}))
        _write(keys_dir / PUBLIC_FILE, _lines({"public": public}))
    return StationKey(public=public, secret=secret)


def allow(keys_dir: Path, name: str, public: str, zones: tuple[Zone, ...], *, is_replaced: bool = False) -> None:
    """Let this client in, or into other zones. Raises GoldlineError: no name, no key, or one of them is another's."""
    check_name(name)
    with _changing(keys_dir):
        clients = dict(load_clients(keys_dir).clients)
        if name in clients and clients[name].public != public and not is_replaced:
            raise GoldlineError(f"{name}: is let in with another key; --replace puts this one in its place")
        _write_clients(keys_dir, clients | {name: _client(public, zones)})


def deny(keys_dir: Path, name: str) -> None:
    """Let this client in no more. Raises GoldlineError where it is not on the list."""
    with _changing(keys_dir):
        clients = dict(load_clients(keys_dir).clients)
        if name not in clients:
            raise GoldlineError(f"{name}: is not on the list" + schema.did_you_mean(name, list(clients)))
        del clients[name]
        _write_clients(keys_dir, clients)


def write_client_file(path: Path, name: str, keys: ClientKeys) -> None:
    """All that the client needs, in one file. Raises GoldlineError where there is one already."""
    if path.exists():
        raise GoldlineError(f"{path}: is there already; another name for it: --out FILE")
    fields = {"name": name, "server_public": keys.server_public, "public": keys.public, "secret": keys.secret}
    with _writing(path):
        _write(path, CLIENT_HEAD.format(name=name) + _lines(fields))


def check_name(name: str) -> None:
    """Raises GoldlineError for what is no name."""
    try:
        _names.validate_python(name)
    except ValidationError:
        raise GoldlineError(f"{name}: a client's name has lower-case letters, digits, - and _, at most 63") from None


def _client(public: str, zones: tuple[Zone, ...]) -> Client:
    try:
        return Client(public=public, zones=zones)
    except ValidationError:
        # Not repeated: it may be the secret, by mistake.
        raise GoldlineError("the public key must be 40 characters of Z85, in single quotes for the shell") from None


def _write_clients(keys_dir: Path, clients: Mapping[str, Client]) -> None:
    try:
        Clients(clients=dict(clients))
    except ValidationError as error:
        raise GoldlineError(f"{error.errors()[0]['ctx']['error']}") from None  # pyright: ignore[reportTypedDictNotRequiredAccess]
    tables = [
        f'\n[clients.{name}]\npublic = "{client.public}"\nzones = {json.dumps(client.zones)}\n'
        for name, client in sorted(clients.items())
    ]
    _write(keys_dir / CLIENTS_FILE, CLIENTS_HEAD + "".join(tables))


def _lines(fields: Mapping[str, str]) -> str:
    # Neither names nor Z85 have quotes or backslashes.
    return "".join(f'{name} = "{value}"\n' for name, value in fields.items())


@contextmanager
def _changing(keys_dir: Path) -> Generator[None]:
    """One writer at a time, in a folder that is made where it is not there yet."""
    with _writing(keys_dir):
        keys_dir.parent.mkdir(parents=True, exist_ok=True)
        if not keys_dir.exists():
            keys_dir.mkdir(mode=FOLDER_MODE)
            give_to_owner_of(keys_dir.parent, keys_dir)
        folder = os.open(keys_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


@contextmanager
def _writing(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as failure:
        raise GoldlineError(f"{path}: cannot be written: {failure.strerror}") from failure


def _write(path: Path, text: str) -> None:
    """Whole, or what was there before: a new file takes its place once it is on the disk."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        give_to_owner_of(path.parent, Path(name))
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def give_to_owner_of(folder: Path, path: Path) -> None:
    """Root makes the keys, the service's user reads them. Raises OSError."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
