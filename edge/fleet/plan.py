"""What travels between the operator, the hub and the stations: what is wanted, what there is, and how a roll-out stands.

bucket goldline-bundles   (objects)   <SHA-256 of the archive>     a bundle, see bundle.py
bucket goldline-wanted    (keys)      <station>                    Wanted, signed: written by the operator alone
bucket goldline-state     (keys)      <station>                    Acknowledged: written by that station alone
bucket goldline-rollouts  (keys)      <product>                    Rollout: written by the operator alone
"""

from datetime import datetime
from typing import Annotated, Literal, TypeVar

import msgspec

from edge.errors import GoldlineError
from edge.fleet.bundle import Product, Sha256

FORMAT = 1
# A document of thousands of products is a mistake; NATS takes 1 MiB a message.
MAX_DOCUMENT_BYTES = 512 << 10
# What anybody who holds a device's key may write is bounded: it is computed with, signed and shown on a terminal.
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
# No control characters, and none that turn the direction of what follows.
Plain = Annotated[
    str, msgspec.Meta(max_length=1024, pattern=r"^[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]*$")
]
# What is counted of what a product decided, by its verdicts.
Counts = dict[Plain, Count]
Station = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
# So many bundles before it are remembered with a roll-out.
MOST_HISTORY = 20
# Longer explanations are cut; a station's line of status has to fit on a screen.
MAX_PROBLEM = 400


class DocumentError(GoldlineError):
    """A document of the hub's that says nothing that can be used."""


class WantedProduct(msgspec.Struct, frozen=True, kw_only=True):
    """`bundle`: what the station is to judge by. `replaces_local`: also where something else was taught there."""

    bundle: Sha256
    replaces_local: bool = False


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a station is to have of every product. `serial` only grows: an older document is refused."""

    format: int = FORMAT
    station: Station
    serial: Count
    products: dict[Product, WantedProduct]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What a station judges by at this moment, as its inspection says: the provenance that its events bear."""

    product: Plain
    recipe_sha256: Plain | None
    reference_set: Plain | None
    configuration: int
    variant: Plain | None = None


class ProductState(msgspec.Struct, frozen=True, kw_only=True):
    """How a station stands with a product. `active`: the bundle on its disk, None for what it was taught itself.

    `is_in_force`: the station judges by this product; `is_judged`: by these very hashes. `is_refused`: the problem is for
    good, until another document is taken. `counts` are the verdicts by
    them, `before` those by what was there before, as far as this run of the uplink has seen them.
    """

    wanted: Sha256 | None = None
    staged: Sha256 | None = None
    active: Sha256 | None = None
    previous: Sha256 | None = None
    recipe_sha256: Plain | None = None
    reference_set: Plain | None = None
    since: Moment | None = None
    is_in_force: bool = False
    is_judged: bool = False
    problem: Plain | None = None
    is_refused: bool = False
    counts: Counts = {}
    before: Counts = {}

    @property
    def has_arrived(self) -> bool:
        """It has what it is wanted to have, and judges by it wherever it judges by the product at all."""
        return self.wanted is not None and self.wanted == self.active and (self.is_judged or not self.is_in_force)


class Acknowledged(msgspec.Struct, frozen=True, kw_only=True):
    """What a station says of itself. `behind`: events that the hub does not have yet; None where nobody knows.

    `refused`: the SHA-256 of the document that it did not take, for `problem`.
    """

    format: int = FORMAT
    station: Station
    goldline: Plain
    said: Moment
    serial: Count
    products: dict[Product, ProductState]
    judged: Judged | None = None
    behind: Count | None = None
    problem: Plain | None = None
    refused: Sha256 | None = None


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """When a stage is over. `wait_s`: so long after its last station has arrived; `parts`: each has judged so many.

    `margin`: the share of parts that are not PASS may have grown by so much over that before.
    """

    wait_s: float = 0.0
    parts: int = 0
    margin: float = 0.02
    # A station that says nothing for so long stops the roll-out.
    patience_s: float = 600.0


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """A roll-out of a product, or the last one. `holder` is the command that drives it; `beats` grow while it lives."""

    format: int = FORMAT
    product: Product
    bundle: Sha256
    stages: tuple[tuple[Station, ...], ...]
    stage: int = 0
    state: Literal["running", "done", "stopped", "rolled-back"] = "running"
    rules: Rules = Rules()
    replaces_local: bool = False
    began: Moment
    holder: str
    beats: Count = 0
    problem: Plain | None = None
    # What it was before this one, the newest last: what `roll-back` can go back to where a station does not know.
    history: tuple[Sha256, ...] = ()


encode = msgspec.json.Encoder(order="sorted").encode
Document = TypeVar("Document", Wanted, Acknowledged, Rollout)


class _Format(msgspec.Struct):
    format: int


def decode(data: bytes, kind: type[Document]) -> Document:
    """Raises DocumentError."""
    if len(data) > MAX_DOCUMENT_BYTES:
        raise DocumentError(f"{kind.__name__}: {len(data)} bytes; at most {MAX_DOCUMENT_BYTES} are read")
    try:
        if (found := msgspec.json.decode(data, type=_Format).format) != FORMAT:
            raise DocumentError(f"{kind.__name__}: format {found}; this version reads {FORMAT}")
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise DocumentError(f"{kind.__name__}: {problem}") from None
