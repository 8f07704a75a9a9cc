"""Whose keys open this station's sockets: CURVE keys (Curve25519) as text in Z85, and the files they are kept in.

    <keys_dir>/station.key     the station's own pair, 0600; a systemd credential `goldline-curve` goes before it
    <keys_dir>/station.pub     its public key alone, to make clients by where only the service has the pair
    <keys_dir>/clients.toml    who is let in: name, public key, zones. Public keys only; nobody else may write it
    <name>.key                 a client's pair and the station's public key: made here, carried to the client, 0600

A zone is what a key is good for: `events` is LIVE and SYNC, `orders` is the command socket. `key_files.py` writes the
files; a message about one of them never repeats a secret.
"""

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, Self, cast

import zmq
from pydantic import AfterValidator, Field, ValidationError, model_validator

from edge import validation
from edge.addresses import is_remote
from edge.camera_config import Name, Section
from edge.config import Station
from edge.errors import ConfigError, GoldlineError

Zone = Literal["events", "orders"]
# The addresses of each, as keys of `[events]`.
ZONES: dict[Zone, tuple[str, ...]] = {"events": ("live", "sync"), "orders": ("command",)}
# What systemd calls the station's pair, where it keeps it encrypted: LoadCredentialEncrypted=goldline-curve:…
CREDENTIAL = "goldline-curve"
STATION_FILE, PUBLIC_FILE, CLIENTS_FILE = "station.key", "station.pub", "clients.toml"
# RFC 32 (Z85): 32 bytes are 40 characters, each five of them 32 bits.
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_Z85_KEY = re.compile(f"[{re.escape(ALPHABET)}]{{40}}")
# A list of ten thousand clients; larger is another file.
MOST_BYTES = 1 << 20
OTHERS_READ, OTHERS_WRITE = 0o077, 0o022


@dataclass(frozen=True, kw_only=True)
class StationKey:
    """The station's own pair."""

    public: str
    # In no traceback and no log, whoever prints one.
    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ClientKeys:
    """What a client proves itself with, and the station to it."""

    server_public: str
    public: str
    secret: str = field(repr=False)


def key_text(text: str) -> str:
    """The text, if it is a key. Raises ValueError, without repeating it."""
    if not _Z85_KEY.fullmatch(text) or any(_chunk(text[at : at + 5]) >= 1 << 32 for at in range(0, 40, 5)):
        raise ValueError("must be a CURVE key: 40 characters of Z85")
    return text


def _chunk(five: str) -> int:
    value = 0
    for character in five:
        value = value * len(ALPHABET) + ALPHABET.index(character)
    return value


KeyText = Annotated[str, AfterValidator(key_text)]


class Client(Section):
    """A peer that is let in, and into what."""

    public: KeyText
    zones: Annotated[tuple[Zone, ...], Field(min_length=1)] = ("events",)


class Clients(Section):
    """The whole list, by name."""

    clients: dict[Name, Client] = {}

    @model_validator(mode="after")
    def _a_key_is_one_client(self) -> Self:
        names: dict[str, str] = {}
        for name, client in self.clients.items():
            if (other := names.setdefault(client.public, name)) != name:
                raise ValueError(f"{other} and {name} have the same key; each client has its own")
        return self

    def named(self, zone: str, public: str) -> str | None:
        """The client with this key, if it is let into this zone."""
        found = (name for name, client in self.clients.items() if client.public == public and zone in client.zones)
        return next(found, None)

    def admitted(self, zone: str) -> frozenset[tuple[str, str]]:
        """Name and key of everybody who is let into this zone."""
        return frozenset((name, client.public) for name, client in self.clients.items() if zone in client.zones)


def secured(station: Station) -> dict[str, Zone]:
    """The addresses that are for peers with keys only, as keys of `[events]`, with their zones.

    Where one address of a zone can be reached from elsewhere, or always, all of the zone's are; those of ipc never are,
    which the folder guards that they lie in.
    """
    found: dict[str, Zone] = {}
    for zone, keys in ZONES.items():
        addresses = {key: str(getattr(station.events, key)) for key in keys}
        if station.security.curve == "always" or any(map(is_remote, addresses.values())):
            found |= {key: zone for key, address in addresses.items() if not address.startswith("ipc://")}
    return found


def keys_for(station: Station, zone: Zone, file: Path | None) -> ClientKeys | None:
    """What a command of this machine opens this zone with: the file it was given, else what is the station's own."""
    return load_client_keys(file) if file is not None else own_keys(station, zone)


def new_pair() -> tuple[str, str]:
    """A fresh public and secret key."""
    public, secret = zmq.curve_keypair()
    # On a command line, what begins with - is an option.
    return new_pair() if public.startswith(b"-") else (public.decode(), secret.decode())


def station_file(keys_dir: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the station's pair is: systemd's credential where there is one."""
    credential = Path(environ.get("CREDENTIALS_DIRECTORY", "")) / CREDENTIAL
    return credential if environ.get("CREDENTIALS_DIRECTORY") and credential.is_file() else keys_dir / STATION_FILE


def load_station_key(keys_dir: Path, environ: Mapping[str, str] = os.environ) -> StationKey | None:
    """The station's pair; None where it has none. Raises GoldlineError for one that is wrong or open to others."""
    path = station_file(keys_dir, environ)
    # The folder of credentials is systemd's, for this service alone.
    data = _read(path, 0 if path.name == CREDENTIAL else OTHERS_READ)
    if data is None:
        return None
    fields = _pair(path, data, ("public", "secret"))
    return StationKey(public=fields["public"], secret=fields["secret"])


def load_station_public(keys_dir: Path) -> str | None:
    """The station's public key, also where its secret is a credential that only the service has. Raises GoldlineError."""
    own = load_station_key(keys_dir)
    if own is not None:
        return own.public
    path = keys_dir / PUBLIC_FILE
    data = _read(path, OTHERS_WRITE)
    return None if data is None else _keys(path, data, ("public",))["public"]


def load_client_keys(path: Path) -> ClientKeys:
    """Of the file that `goldline keys client` made. Raises GoldlineError."""
    data = _read(path, OTHERS_READ)
    if data is None:
        raise GoldlineError(f"{path}: no such file")
    fields = _pair(path, data, ("server_public", "public", "secret"))
    return ClientKeys(server_public=fields["server_public"], public=fields["public"], secret=fields["secret"])


def own_keys(station: Station, zone: Zone) -> ClientKeys | None:
    """What the station's own processes and commands open this zone with: its pair; None where nobody needs any.

    Raises GoldlineError where the pair is needed and is not to be had.
    """
    if zone not in secured(station).values():
        return None
    own = load_station_key(station.keys_dir)
    if own is None:
        raise GoldlineError(f"{station.keys_dir}: the station's own key is not here; a client's will do: --keys FILE")
    return ClientKeys(server_public=own.public, public=own.public, secret=own.secret)


def load_clients(keys_dir: Path) -> Clients:
    """Who is let in: nobody, where there is no list. Raises GoldlineError for one that is wrong or others may write."""
    path = keys_dir / CLIENTS_FILE
    data = _read(path, OTHERS_WRITE)
    try:
        return Clients() if data is None else Clients.model_validate(data)
    except ValidationError as error:
        raise ConfigError(
            "\n".join(validation.problems(error, Clients, validation.Document(str(path), data or {})))
        ) from None


def _keys(path: Path, data: Mapping[str, object], names: tuple[str, ...]) -> dict[str, str]:
    """These keys of a file. Raises GoldlineError naming the file and the field, never the value."""
    for name in names:
        try:
            key_text(cast("str", data.get(name, "")))
        except (ValueError, TypeError):
            raise GoldlineError(f"{path}: {name}: must be a CURVE key: 40 characters of Z85") from None
    return {name: str(data[name]) for name in names}


def _pair(path: Path, data: Mapping[str, object], names: tuple[str, ...]) -> dict[str, str]:
    """As `_keys`, with a public and a secret key that belong together."""
    fields = _keys(path, data, names)
    if zmq.curve_public(fields["secret"].encode()).decode() != fields["public"]:
        raise GoldlineError(f"{path}: public: is not the public key of this secret key")
    return fields


def _read(path: Path, forbidden: int) -> dict[str, object] | None:
    """A file of ours as TOML, if it is there. Raises GoldlineError where it cannot be read, or others may do too much."""
    with validation.reading(path), _opened(path) as file:
        if file is None:
            return None
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
            raise GoldlineError(f"{path}: is no file of keys")
        if mode := stat.S_IMODE(status.st_mode) & forbidden:
            what = "read its secret" if forbidden == OTHERS_READ else "add keys to it"
            allowed = stat.S_IMODE(status.st_mode) & ~forbidden
            raise GoldlineError(f"{path}: others may {what} (mode has {mode:03o}): chmod {allowed:o} {path}")
        return tomllib.loads(file.read(MOST_BYTES).decode())


def _opened(path: Path) -> AbstractContextManager[BinaryIO | None]:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return nullcontext()
