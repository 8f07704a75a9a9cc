"""The hub's buckets as a station and as an operator use them: objects and keys of NATS JetStream, in the hub's domain.

A station asks for single messages alone (Direct Get) and writes a single key: so its permissions at the hub are five
subjects, it has nothing there that could be left behind, and a fetch goes on where it was when the hub comes back.
"""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import KeyValueConfig, ObjectInfo, ObjectMeta, ObjectStoreConfig, StorageType, StreamConfig
from nats.js.kv import KeyValue

from edge.errors import GoldlineError
from edge.fleet import bundle, plan
from edge.fleet.rights import API, inbox, state_of
from edge.fleet.words import BUNDLES, HUB_DOMAIN, ROLLOUTS, STATE, WANTED

# Of each key, so many are kept to be looked at afterwards.
HISTORY = 8
# An answer of a hub that is there takes milliseconds; a satellite link, a second.
ANSWER_WITHIN_S = 5.0
# A fetch that gets nothing for so long is given up; what was fetched is fetched anew.
STALL_S = 60.0
RETRY_S = 1.0
CONNECT_WITHIN_S = 10
# Keys that are asked for together: more would only wait for each other.
AT_ONCE = 100
_LOST = (
    nats.errors.Error,
    nats.js.errors.Error,
    OSError,
    asyncio.TimeoutError,
)


class HubError(GoldlineError):
    """The hub cannot be asked, or refuses."""


def station_options(station: str) -> dict[str, Any]:
    """How a station connects to its own server."""
    return {"name": f"goldline-{station}-products", "inbox_prefix": inbox(station)}


def operator_options(seed: Path | None) -> dict[str, Any]:
    """How the operator connects to the hub: with the secret key of that file, where there is one."""
    key = {} if seed is None else {"nkeys_seed": str(seed)}
    # A roll-out takes hours where it waits between stages; the hub may be started anew meanwhile.
    return {"name": "goldline fleet", "allow_reconnect": True, "max_reconnect_attempts": -1, **key}


@asynccontextmanager
async def connected(server: str, **options: Any) -> AsyncGenerator[Client]:
    """A connection that ends with the block. Raises HubError: nobody is there, or does not let us in."""
    said: list[str] = []

    async def note(problem: Exception) -> None:
        said.append(str(problem) or type(problem).__name__)

    try:
        # Of 0 attempts nats-py makes any number.
        once = {"allow_reconnect": False, "max_reconnect_attempts": 1, "reconnect_time_wait": 0.1}
        common = {"error_cb": note, "connect_timeout": CONNECT_WITHIN_S, **options}
        if "allow_reconnect" in options:
            # What is to come back by itself afterwards would be looked for without end at first, too.
            await (
                await asyncio.wait_for(_untyped(nats).connect(server, **{**common, **once}), CONNECT_WITHIN_S)
            ).close()
        client = await asyncio.wait_for(_untyped(nats).connect(server, **{**once, **common}), CONNECT_WITHIN_S)
    except (*_LOST, ValueError) as problem:
        why = said[-1] if said else str(problem) or type(problem).__name__
        raise HubError(f"{_plain(server)}: no connection: {why}") from problem
    try:
        yield client
    finally:
        with suppress(*_LOST):
            await client.close()


def _untyped(library: Any) -> Any:
    """Of the client of NATS: its own types are open in places."""
    return library


def _plain(server: str) -> str:
    """The address without what is secret in it."""
    scheme, _, rest = server.rpartition("://")
    return f"{scheme or 'nats'}://{rest.rpartition('@')[2]}"


class StationBuckets:
    """What a station may do at the hub."""

    def __init__(self, client: Client, station: str) -> None:
        """`client`: the connection to the device's own server, over which the hub is reached."""
        self._js: Any = _untyped(client).jetstream(prefix=API, timeout=ANSWER_WITHIN_S)
        self._station = station

    async def wanted(self) -> bytes | None:
        """The document about this station; None where there is none. Raises HubError."""
        message = await self._last(f"KV_{WANTED}", f"$KV.{WANTED}.{self._station}")
        return message and message.data

    async def acknowledge(self, said: bytes) -> None:
        """Say how this station stands. Raises HubError."""
        try:
            await self._js.publish(state_of(self._station), said, timeout=ANSWER_WITHIN_S)
        except _LOST as problem:
            raise _hub_error(problem) from problem

    async def size(self, name: str) -> int:
        """How many bytes this bundle has. Raises HubError: it is not there, or the hub is not."""
        return (await self._info(name)).size or 0

    async def fetch(self, name: str, target: IO[bytes], tell: Callable[[int], None] = lambda _: None) -> None:
        """Write a bundle's bytes to `target`; `tell` hears how many there are so far. Raises HubError or OSError."""
        info = await self._info(name)
        size = info.size or 0
        subject, digest = f"$O.{BUNDLES}.C.{info.nuid}", hashlib.sha256()
        sequence = done = 0
        while done < size:
            message = await self._patiently(subject, sequence + 1)
            content = message.data or b""
            sequence, done = message.seq or 0, done + len(content)
            if done > size:
                break
            digest.update(content)
            await asyncio.to_thread(target.write, content)
            tell(done)
        if done != size or info.digest != f"SHA-256={base64.urlsafe_b64encode(digest.digest()).decode()}":
            raise HubError(f"{name[:12]}: what the hub has of it is damaged")

    async def _patiently(self, subject: str, sequence: int) -> Any:
        """The next message of a subject, from a hub that may be away for a while."""
        until = time.monotonic() + STALL_S
        while True:
            try:
                return await self._js.get_msg(f"OBJ_{BUNDLES}", seq=sequence, subject=subject, direct=True, next=True)
            except nats.js.errors.NotFoundError as problem:
                raise HubError("the hub has it in part only: roll it out again") from problem
            except _LOST as problem:
                if time.monotonic() > until:
                    raise _hub_error(problem) from problem
                await asyncio.sleep(RETRY_S)

    async def _info(self, name: str) -> ObjectInfo:
        encoded = base64.urlsafe_b64encode(name.encode()).decode()
        message = await self._last(f"OBJ_{BUNDLES}", f"$O.{BUNDLES}.M.{encoded}")
        try:
            info = None if message is None else ObjectInfo.from_response(json.loads(message.data))
        except (ValueError, KeyError, TypeError) as problem:
            raise HubError(f"{name[:12]}: what the hub says of it cannot be read: {problem}") from problem
        if info is None or info.deleted or not info.nuid:
            raise HubError(f"{name[:12]}: the hub does not have this bundle any more: roll it out again")
        if not 0 < (info.size or 0) <= bundle.MAX_BYTES:
            raise HubError(f"{name[:12]}: {info.size} bytes; at most {bundle.MAX_BYTES} are fetched")
        return info

    async def _last(self, stream: str, subject: str) -> Any:
        try:
            return await self._js.get_msg(stream, subject=subject, direct=True)
        except nats.js.errors.NotFoundError:
            return None
        except _LOST as problem:
            raise _hub_error(problem) from problem


def _no_buckets() -> HubError:
    return HubError("the hub has no buckets for roll-outs yet: goldline fleet init")


def _hub_error(problem: BaseException) -> HubError:
    return HubError(f"the hub does not answer: {str(problem) or type(problem).__name__}")


class OperatorBuckets:
    """What the operator does at the hub."""

    def __init__(self, client: Client) -> None:
        """A connection with the operator's rights."""
        self._js: Any = _untyped(client).jetstream(domain=HUB_DOMAIN, timeout=ANSWER_WITHIN_S)
        self._known: dict[str, KeyValue] = {}

    async def make(self, replicas: int = 1) -> None:
        """Make the buckets; what is there already stays. Raises HubError."""
        try:
            await self._make(replicas)
        except _LOST as problem:
            raise _hub_error(problem) from problem

    async def _make(self, replicas: int) -> None:
        for name in (WANTED, STATE, ROLLOUTS):
            if not await self._has(f"KV_{name}"):
                config = KeyValueConfig(bucket=name, history=HISTORY, replicas=replicas, direct=True)
                await self._js.create_key_value(config)
            await self._guard(f"KV_{name}")
        if not await self._has(f"OBJ_{BUNDLES}"):
            config = ObjectStoreConfig(bucket=BUNDLES, replicas=replicas, storage=StorageType.FILE)
            await self._js.create_object_store(BUNDLES, config)

    async def _guard(self, stream: str) -> None:
        """No message makes the others go: one that rolls a bucket up is a header that a station could send."""
        config: StreamConfig = (await self._js.stream_info(stream)).config
        guarded = replace(config, allow_rollup_hdrs=False, deny_purge=True, max_msg_size=plan.MAX_DOCUMENT_BYTES)
        if guarded != config:
            await self._js.update_stream(guarded)

    async def _has(self, stream: str) -> bool:
        try:
            await self._js.stream_info(stream)
        except nats.js.errors.NotFoundError:
            return False
        return True

    async def put(self, name: str, path: Path) -> bool:
        """Put a bundle there under its name; False where it is there already. Raises HubError or OSError."""
        try:
            store = await self._js.object_store(BUNDLES)
            try:
                await store.get_info(name)
            except nats.js.errors.NotFoundError:
                with path.open("rb") as file:
                    await store.put(name, file, ObjectMeta(name=name))
                return True
        except _LOST as problem:
            raise _hub_error(problem) from problem
        return False

    async def has(self, name: str) -> bool:
        """Whether a bundle is there. Raises HubError."""
        try:
            await (await self._js.object_store(BUNDLES)).get_info(name)
        except nats.js.errors.NotFoundError:
            return False
        except _LOST as problem:
            raise _hub_error(problem) from problem
        return True

    async def get(self, bucket: str, key: str) -> tuple[bytes | None, int]:
        """A key's value and its revision; None and 0 where there is none. Raises HubError."""
        try:
            entry = await (await self._bucket(bucket)).get(key)
        except nats.js.errors.KeyNotFoundError as missing:
            # Where other hands removed it (`nats kv del`), what is written next stands over that mark.
            removed: Any = missing
            return None, 0 if removed.entry is None else removed.entry.revision
        except _LOST as problem:
            raise _hub_error(problem) from problem
        return entry.value, entry.revision or 0

    async def all(self, bucket: str) -> dict[str, bytes]:
        """Every key of a bucket with its value. Raises HubError.

        Not by a watcher of nats-py, which may say that it has told all before the first came.
        """
        prefix = f"$KV.{bucket}."
        try:
            info = await self._js.stream_info(f"KV_{bucket}", subjects_filter=f"{prefix}>")
        except nats.js.errors.NotFoundError as problem:
            raise _no_buckets() from problem
        except _LOST as problem:
            raise _hub_error(problem) from problem
        keys = sorted(subject.removeprefix(prefix) for subject in info.state.subjects or ())
        found: dict[str, bytes] = {}
        for first in range(0, len(keys), AT_ONCE):
            some = keys[first : first + AT_ONCE]
            values = await asyncio.gather(*(self.get(bucket, key) for key in some))
            found |= {key: value for key, (value, _) in zip(some, values, strict=True) if value is not None}
        return found

    async def write(self, bucket: str, key: str, value: bytes, revision: int) -> int | None:
        """Write a key that still has this revision; its new one, None where somebody else was first. Raises HubError."""
        try:
            return await (await self._bucket(bucket)).update(key, value, revision)
        except nats.js.errors.KeyWrongLastSequenceError:
            return None
        except _LOST as problem:
            raise _hub_error(problem) from problem

    async def _bucket(self, name: str) -> KeyValue:
        try:
            if name not in self._known:
                self._known[name] = await self._js.key_value(name)
            return self._known[name]
        except nats.js.errors.NotFoundError as problem:
            raise _no_buckets() from problem
