"""The station's side of roll-outs: takes what it is wanted to have, puts it in force, and says what it judges by.

Every turn asks the hub for the one document about this station. A document is taken when a trusted key has signed it for
this station and its serial is the newest: an older one that comes again is refused, and only `roll-back`, which is a
document of its own, leads back. While the hub is away, what was taken goes on being brought about from what is here.
"""

import asyncio
import hashlib
import time
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
import structlog

from edge import __version__
from edge.config import Station
from edge.errors import GoldlineError
from edge.fleet import plan, product_files, signing
from edge.fleet.arrival import Arrivals, explained
from edge.fleet.buckets import HubError, StationBuckets
from edge.fleet.judged_by import Asked, Busy
from edge.fleet.kept import Kept, ProductRecord, Refused, RoomError
from edge.fleet.plan import Acknowledged, DocumentError, Judged, ProductState, Wanted, WantedProduct
from edge.fleet.tally import Tally
from edge.product_switch import SwitchError

# A document waits for so long at most; a thousand stations ask the hub five hundred times a second.
POLL_S = 2.0
# What has not changed is said again this often, so that the hub knows who lives.
SAY_S = 30.0
# Unpacking a large bundle takes seconds of the disk: what came to nothing is not tried again at once.
AGAIN_S = 5.0
# What may pass by itself; all else is refused for good.
PASSING = (RoomError, HubError, Busy, SwitchError)


class CannotJudge(GoldlineError):
    """The station has tried, and goes on judging by what it judged by."""


class Replayed(DocumentError):
    """A document that is older than what was taken."""


class RolloutStation:
    """Owns the folder `fleet` of the state directory. `turn` is one round."""

    def __init__(self, station: Station, buckets: StationBuckets, asked: Asked, tally: Tally) -> None:
        """Raises GoldlineError or OSError: the folder cannot be used."""
        self._station, self._buckets, self._asked, self._tally = station, buckets, asked, tally
        self._kept = Kept(station.state_dir)
        self._kept.make()
        self._arrivals = Arrivals(station, self._kept)
        self._wanted: Wanted | None = None
        self._document: bytes | None = None
        self._problem: str | None = None
        self._refused_document: str | None = None
        self._problems: dict[str, str] = {}
        # When what had a passing problem is tried again.
        self._again_s: dict[str, float] = {}
        self._said: Acknowledged | None = None

    async def turn(self, *, is_offline: bool = False) -> Acknowledged:
        """Take, bring about, say. Returns what was said. Raises HubError: the hub is away, and all else is done."""
        lost = None if is_offline else await self._ask_hub()
        if self._wanted is None:
            await self._take_up()
        for product, one in (self._wanted.products if self._wanted else {}).items():
            await self._bring(product, one)
        if self._wanted is not None:
            await asyncio.to_thread(self._arrivals.prune, self._wanted.products)
        said = await self._say()
        if lost is not None:
            raise lost
        return said

    # --- documents

    async def _ask_hub(self) -> HubError | None:
        try:
            document = await self._buckets.wanted()
        except HubError as away:
            return away
        self._problem = self._refused_document = None
        if document is not None and (document != self._document or self._wanted is None):
            await self._take(document)
        return None

    async def _take(self, document: bytes) -> None:
        try:
            wanted = await asyncio.to_thread(self._read, document)
        except GoldlineError as problem:
            self._problem, self._refused_document = explained(problem), hashlib.sha256(document).hexdigest()
            return
        await asyncio.to_thread(self._write_down, document, wanted)
        self._wanted, self._document, self._problems, self._again_s = wanted, document, {}, {}

    def _read(self, document: bytes) -> Wanted:
        """Raises SignatureError, DocumentError or Replayed."""
        trusted = signing.load_trusted(self._arrivals.trusted_folder)
        wanted = plan.decode(signing.verified("wanted", document, trusted), Wanted)
        if wanted.station != self._station.station_id:
            raise DocumentError(f"what is wanted here was signed for station {wanted.station}")
        newest = self._arrivals.record.serial
        is_repeated = wanted.serial == newest and self._kept.wanted() not in (None, document)
        if wanted.serial < newest or is_repeated:
            raise Replayed(f"an older document (serial {wanted.serial}) than what was taken ({newest}): refused")
        return wanted

    def _write_down(self, document: bytes, wanted: Wanted) -> None:
        self._kept.write_wanted(document)
        self._arrivals.record = msgspec.structs.replace(self._arrivals.record, serial=wanted.serial)
        self._kept.write(self._arrivals.record)

    async def _take_up(self) -> None:
        """What was taken before this process began."""
        document = await asyncio.to_thread(self._kept.wanted)
        if document is not None and self._problem is None:
            await self._take(document)

    # --- products

    async def _bring(self, product: str, wanted: WantedProduct) -> None:
        if time.monotonic() < self._again_s.get(product, 0.0):
            return
        try:
            known = await asyncio.to_thread(self._arrivals.taken_up, product)
            if (refused := _refused(known, wanted, self._serial)) is not None:
                self._problems[product] = refused
                return
            if await self._is_missing(product, known, wanted):
                await self._fetch(product, wanted)
                now = datetime.now(UTC)
                await asyncio.to_thread(self._arrivals.put_in_force, product, wanted, self._serial, now)
                structlog.get_logger().info("rolled out", product=product, bundle=wanted.bundle[:12])
            await self._confirm(product)
        except (*PASSING, OSError) as problem:
            self._problems[product], self._again_s[product] = explained(problem), time.monotonic() + AGAIN_S
        except GoldlineError as problem:
            await self._refuse(product, wanted, problem)
        else:
            self._problems.pop(product, None)

    @property
    def _serial(self) -> int:
        return self._arrivals.record.serial

    async def _is_missing(self, product: str, known: ProductRecord, wanted: WantedProduct) -> bool:
        if known.active is None or known.active.bundle != wanted.bundle:
            return True
        return await asyncio.to_thread(self._arrivals.is_local, product)

    async def _fetch(self, product: str, wanted: WantedProduct) -> None:
        path = self._kept.path(wanted.bundle)
        if not path.exists():
            size = await self._buckets.size(wanted.bundle)
            self._kept.require(size, self._kept.folder)
            beside = self._kept.folder / "fetched"
            try:
                with beside.open("wb") as target:
                    await self._buckets.fetch(wanted.bundle, target)
                await asyncio.to_thread(self._kept.keep, beside, wanted.bundle)
            finally:
                # A part of one takes room that the whole may need.
                beside.unlink(missing_ok=True)
            self._problems.pop(product, None)
            await self._say()

    async def _confirm(self, product: str) -> None:
        """Have the station judge by it, where it judges by this product at all."""
        known, standing = self._arrivals.record.of(product), await asyncio.to_thread(self._asked.standing)
        if standing is None or standing.job.product != product or known.active is None:
            return
        is_judged = (standing.job.recipe_sha256, standing.job.reference_set) == known.active.pair
        if not is_judged or not known.is_confirmed:
            try:
                await asyncio.to_thread(self._asked.prepare, product, standing.job.variant)
            except Busy:
                raise
            except GoldlineError as problem:
                raise CannotJudge(str(problem)) from problem
            await asyncio.to_thread(self._arrivals.confirm, product)

    async def _refuse(self, product: str, wanted: WantedProduct, problem: GoldlineError) -> None:
        """For good: until another document is taken. What the station cannot judge by makes room for what was there."""
        refused = Refused(bundle=wanted.bundle, serial=self._serial, problem=explained(problem))
        structlog.get_logger().error("a roll-out is refused", product=product, problem=refused.problem)
        try:
            if isinstance(problem, CannotJudge):
                await asyncio.to_thread(self._arrivals.go_back, product, refused, datetime.now(UTC))
            else:
                await asyncio.to_thread(self._arrivals.refuse, product, refused)
        except (GoldlineError, OSError) as failure:
            self._problems[product] = (
                f"{refused.problem}; and what was there before is not in force: {explained(failure)}"
            )
        else:
            self._problems[product] = refused.problem

    # --- saying

    async def _say(self) -> Acknowledged:
        """Tell the hub how things stand, where that has changed or was not said for a while. Raises HubError."""
        said = await asyncio.to_thread(self._standing)
        if self._is_news(said):
            with suppress(HubError):
                await self._buckets.acknowledge(plan.encode(said))
                self._said = said
        return said

    def _is_news(self, said: Acknowledged) -> bool:
        before = self._said
        if before is None or (said.said - before.said).total_seconds() >= SAY_S:
            return True
        return msgspec.structs.replace(said, said=before.said, behind=before.behind) != before

    def _standing(self) -> Acknowledged:
        self._tally.look()
        standing = self._asked.standing()
        judged = standing.job if standing is not None else None
        named = {*self._arrivals.record.products, *(self._wanted.products if self._wanted else ())}
        return Acknowledged(
            station=self._station.station_id,
            goldline=__version__,
            said=datetime.now(UTC),
            serial=self._serial,
            products={product: self._product(product, judged) for product in sorted(named)},
            judged=judged,
            behind=self._tally.behind,
            problem=self._problem and self._problem[: plan.MAX_PROBLEM],
            refused=self._refused_document,
        )

    def _product(self, product: str, judged: Judged | None) -> ProductState:
        known, wanted = self._arrivals.record.of(product), self._wanted and self._wanted.products.get(product)
        pair = product_files.on_disk(self._station, product)
        active = known.active if known.active is not None and known.active.pair == pair else None
        problem = self._problems.get(product)
        return ProductState(
            wanted=wanted.bundle if wanted else None,
            staged=wanted.bundle if wanted and self._kept.path(wanted.bundle).exists() else None,
            active=active and active.bundle,
            previous=known.previous and known.previous.bundle,
            recipe_sha256=pair and pair.recipe_sha256,
            reference_set=pair and pair.reference_set,
            since=active and active.since,
            is_in_force=judged is not None and judged.product == product,
            is_judged=known.is_confirmed and pair is not None and pair == _pair_of(judged, product),
            problem=problem and problem[: plan.MAX_PROBLEM],
            is_refused=wanted is not None and _refused(known, wanted, self._serial) is not None,
            counts=self._tally.of(pair),
            before=self._tally.of(known.previous and known.previous.pair),
        )


def _pair_of(judged: Judged | None, product: str) -> tuple[str | None, str | None] | None:
    return (judged.recipe_sha256, judged.reference_set) if judged is not None and judged.product == product else None


def _refused(known: ProductRecord, wanted: WantedProduct, serial: int) -> str | None:
    """Why this very bundle was refused for this very document."""
    refused = known.refused
    is_it = refused is not None and (refused.bundle, refused.serial) == (wanted.bundle, serial)
    return refused.problem if refused is not None and is_it else None
