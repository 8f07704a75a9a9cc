"""The operator's side of a roll-out: from stage to stage, as far as every station has acknowledged the one before.

Where it stands is in the hub, written only over what was read: of two operators the second is refused, and a command that
dies is followed by another with `--resume`. What a station is wanted to have is a document of its own, read, checked,
changed and signed anew, so that nothing but what a trusted key has signed is ever signed again.
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Literal, TypeVar

import msgspec

from edge.errors import GoldlineError
from edge.fleet import plan, signing
from edge.fleet.buckets import HubError, OperatorBuckets
from edge.fleet.plan import Acknowledged, DocumentError, Rollout, Rules, Wanted, WantedProduct
from edge.fleet.signing import Signer, Trusted
from edge.fleet.stages import NOT_THERE, Look, Ordered, Stopped, Waiting, has_arrived, look
from edge.fleet.words import ROLLOUTS, STATE, WANTED

# Stations are looked at this often; each answers within its own poll of 2 s.
LOOK_S = 1.0
# A command that drives a roll-out says so this often; one that has said nothing for LEASE_S is dead.
BEAT_S, LEASE_S = 1.5, 6.0
# Another product's roll-out may write a station's document at the same moment: then it is read again.
TRIES = 5
# A hub that was restarted is back within seconds; a roll-out that is given up goes on with `--resume`.
HUB_PATIENCE_S = 120.0

Tell = Callable[[str], None]
Result = TypeVar("Result")


class Taken(GoldlineError):
    """Another command drives this roll-out, or has changed it."""


class Conductor:
    """Drives the roll-outs of one product."""

    def __init__(self, buckets: OperatorBuckets, product: str, signer: Signer, trusted: Trusted, tell: Tell) -> None:
        """`trusted`: whose documents may be changed and signed anew."""
        self._buckets, self._product, self._tell = buckets, product, tell
        self._signer, self._trusted = signer, {**trusted, signer.id: signer.key.public_key()}
        self._holder = secrets.token_hex(8)
        self._beat_s = 0.0

    # --- the roll-out's own record

    async def begin(
        self, bundle: str, stages: tuple[tuple[str, ...], ...], rules: Rules, *, replaces_local: bool
    ) -> Rollout:
        """Make this the product's roll-out. Raises Taken where another is under way."""
        before, revision = await self.read()
        if before is not None and before.state == "running":
            raise Taken(await self._why_taken(before))
        history = () if before is None else (*before.history, before.bundle)
        rollout = Rollout(
            product=self._product,
            bundle=bundle,
            stages=stages,
            rules=rules,
            replaces_local=replaces_local,
            began=datetime.now(UTC),
            holder=self._holder,
            history=history[-plan.MOST_HISTORY :],
        )
        return await self._write(rollout, revision)

    async def resume(self) -> Rollout:
        """Take over where a command has died, or a roll-out was stopped. Raises Taken or GoldlineError."""
        rollout, revision = await self.read()
        if rollout is None or rollout.state in ("done", "rolled-back"):
            raise GoldlineError(f"{self._product}: there is no roll-out to go on with")
        if rollout.state == "running" and await self._lives(revision):
            raise Taken(f"{self._product}: another command drives this roll-out: {_where(rollout)}")
        again = msgspec.structs.replace(rollout, state="running", holder=self._holder, problem=None)
        return await self._write(again, revision)

    async def read(self) -> tuple[Rollout | None, int]:
        """The product's newest roll-out, and the record's revision. Raises GoldlineError."""
        data, revision = await self._buckets.get(ROLLOUTS, self._product)
        return (None if data is None else plan.decode(data, Rollout)), revision

    async def _why_taken(self, running: Rollout) -> str:
        _, revision = await self.read()
        if await self._lives(revision):
            return f"{self._product}: another command rolls out {running.bundle[:12]}: {_where(running)}"
        return (
            f"{self._product}: the command that rolled out {running.bundle[:12]} has died: {_where(running)}; --resume goes "
            "on with it, roll-back takes it back"
        )

    async def _lives(self, revision: int) -> bool:
        """Whether somebody writes the record: no clock but this one is asked."""
        self._tell(f"looking for {LEASE_S:.0f} s whether another command drives it")
        until = time.monotonic() + LEASE_S
        while time.monotonic() < until:
            await asyncio.sleep(LOOK_S)
            if (await self.read())[1] != revision:
                return True
        return False

    async def _write(self, rollout: Rollout, revision: int) -> Rollout:
        while (written := await self._buckets.write(ROLLOUTS, self._product, plan.encode(rollout), revision)) is None:
            # One of our own whose answer the hub took with it is no other command's.
            stored, revision = await self.read()
            if stored is None or stored.holder != self._holder:
                raise Taken(
                    f"{self._product}: another command has changed this roll-out meanwhile: goldline fleet status"
                )
        self._revision = written
        return rollout

    async def _beat(self, rollout: Rollout) -> Rollout:
        if time.monotonic() - self._beat_s < BEAT_S:
            return rollout
        self._beat_s = time.monotonic()
        return await self._write(msgspec.structs.replace(rollout, beats=rollout.beats + 1), self._revision)

    # --- driving

    async def drive(self, rollout: Rollout) -> Rollout:
        """Stage after stage to the end, or to the first refusal. Raises Taken, or HubError for a hub that stays away."""
        while rollout.stage < len(rollout.stages):
            stations = rollout.stages[rollout.stage]
            self._tell(f"stage {rollout.stage + 1} of {len(rollout.stages)}: {', '.join(stations)}")
            wanted = WantedProduct(bundle=rollout.bundle, replaces_local=rollout.replaces_local)
            began = _serial_of(rollout.began)
            ordered: dict[str, Ordered] = {}
            for one in stations:
                rollout = await self._patiently(partial(self._beat, rollout))
                ordered[one] = await self._patiently(partial(self.want, one, wanted, began, self._require_own))
            rollout, seen = await self._watch(rollout, ordered)
            if isinstance(seen, Stopped):
                return await self._end(rollout, "stopped", f"{seen.station}: {seen.problem}")
            following = msgspec.structs.replace(rollout, stage=rollout.stage + 1)
            rollout = await self._patiently(partial(self._put, following))
        return await self._end(rollout, "done", None)

    async def _end(self, rollout: Rollout, state: Literal["done", "stopped"], problem: str | None) -> Rollout:
        ended = msgspec.structs.replace(rollout, state=state, problem=problem)
        return await self._patiently(partial(self._put, ended))

    async def _put(self, rollout: Rollout) -> Rollout:
        return await self._write(rollout, self._revision)

    async def _patiently(self, act: Callable[[], Awaitable[Result]]) -> Result:
        """What comes of it at a hub that may be away for a while. Raises HubError for one that stays away."""
        until = time.monotonic() + HUB_PATIENCE_S
        while True:
            try:
                return await act()
            except HubError as away:
                if time.monotonic() > until:
                    raise
                self._tell(f"the hub is away, tried again: {away}")
                await asyncio.sleep(LOOK_S)

    async def _watch(self, rollout: Rollout, ordered: Mapping[str, Ordered]) -> tuple[Rollout, Look]:
        began_s, arrived_s, told = time.monotonic(), None, ""
        while True:
            rollout = await self._patiently(partial(self._beat, rollout))
            said, now_s = await self._patiently(self.acknowledged), time.monotonic()
            are_there = all(has_arrived(self._product, order, said.get(one)) for one, order in ordered.items())
            arrived_s = (arrived_s or now_s) if are_there else None
            since_s = None if arrived_s is None else now_s - arrived_s
            seen = look(self._product, ordered, said, rollout.rules, waited_s=now_s - began_s, arrived_s=since_s)
            if not isinstance(seen, Waiting):
                return rollout, seen
            if (text := _waits(seen)) != told:
                self._tell(told := text)
            await asyncio.sleep(LOOK_S)

    async def acknowledged(self) -> dict[str, Acknowledged]:
        """What every station has said of itself; one that says nothing that can be read has said nothing."""
        return acknowledged(await self._buckets.all(STATE))

    async def _require_own(self) -> None:
        """Raises Taken: another has ended this roll-out, or goes on with it."""
        if (await self._buckets.get(ROLLOUTS, self._product))[1] != self._revision:
            raise Taken(f"{self._product}: another command has changed this roll-out meanwhile: goldline fleet status")

    async def want(
        self, station: str, wanted: WantedProduct, since: int, require: Callable[[], Awaitable[None]] | None = None
    ) -> Ordered:
        """Write what this station is to have of the product, unless it was said from serial `since` on.

        `require` is asked between reading and writing: who took this roll-out over before that, or writes after it, has
        the last word. Raises GoldlineError.
        """
        for _ in range(TRIES):
            document, revision = await self._buckets.get(WANTED, station)
            if require is not None:
                await require()
            before = self._known(station, document)
            is_said = before is not None and before.products.get(self._product) == wanted and before.serial >= since
            if document is not None and before is not None and is_said:
                return _ordered(wanted, before.serial, document)
            document, serial = self._signed(station, before, await self._newest_serial(station), wanted)
            if await self._buckets.write(WANTED, station, document, revision) is not None:
                return _ordered(wanted, serial, document)
        raise Taken(f"{station}: others write what it is to have all the time: try again")

    def _known(self, station: str, document: bytes | None) -> Wanted | None:
        if document is None:
            return None
        try:
            known = plan.decode(signing.verified("wanted", document, self._trusted), Wanted)
        except GoldlineError as problem:
            raise DocumentError(f"{station}: what it is wanted to have cannot be changed: {problem}") from problem
        if known.station != station:
            raise DocumentError(f"{station}: what it is wanted to have was signed for {known.station}")
        return known

    def _signed(self, station: str, before: Wanted | None, newest: int, wanted: WantedProduct) -> tuple[bytes, int]:
        """Milliseconds since 1970 grow by themselves, also where a hub was made anew; a clock that went back does not harm."""
        serial = max(_serial_of(datetime.now(UTC)), newest + 1, before.serial + 1 if before else 0)
        products = {**(before.products if before else {}), self._product: wanted}
        said = plan.encode(Wanted(station=station, serial=serial, products=products))
        return self._signer.sign("wanted", said), serial

    async def _newest_serial(self, station: str) -> int:
        data, _ = await self._buckets.get(STATE, station)
        said = acknowledged({station: data or b""}).get(station)
        return 0 if said is None else said.serial

    # --- back

    async def roll_back(self, targets: Mapping[str, str], rules: Rules) -> Look:
        """Have each station judge by that bundle again, and wait for it. A roll-out under way ends by it."""
        rollout, revision = await self.read()
        if rollout is not None and rollout.state != "rolled-back":
            back = msgspec.structs.replace(rollout, state="rolled-back", problem=None, holder=self._holder)
            await self._write(back, revision)
        now = _serial_of(datetime.now(UTC))
        wanted = {one: partial(self.want, one, WantedProduct(bundle=name), now) for one, name in targets.items()}
        ordered = {one: await self._patiently(want) for one, want in wanted.items()}
        began_s, told = time.monotonic(), ""
        while True:
            said = await self._patiently(self.acknowledged)
            waited_s = time.monotonic() - began_s
            seen = look(self._product, ordered, said, rules, waited_s=waited_s, arrived_s=waited_s)
            if not isinstance(seen, Waiting):
                return seen
            if (text := _waits(seen)) != told:
                self._tell(told := text)
            await asyncio.sleep(LOOK_S)


def acknowledged(values: Mapping[str, bytes]) -> dict[str, Acknowledged]:
    """What stations say of themselves, by the key that only they may write."""
    found: dict[str, Acknowledged] = {}
    for station, data in values.items():
        try:
            said = plan.decode(data, Acknowledged)
        except DocumentError:
            continue
        if said.station == station:
            found[station] = said
    return found


def _serial_of(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _ordered(wanted: WantedProduct, serial: int, document: bytes) -> Ordered:
    return Ordered(wanted.bundle, serial, hashlib.sha256(document).hexdigest())


def _where(rollout: Rollout) -> str:
    return f"stage {min(rollout.stage + 1, len(rollout.stages))} of {len(rollout.stages)}, begun {rollout.began:%Y-%m-%d %H:%M} UTC"


def _waits(seen: Waiting) -> str:
    return "; ".join(f"{station}: {why.removeprefix(f'{NOT_THERE}: ')}" for station, why in seen.stations.items())
