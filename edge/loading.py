"""Loads one region of a stored reference set: its graph, and the checks that the recipe asks for."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edge import gate, memory, template
from edge.checks.check import Check
from edge.checks.code import CodeReader
from edge.checks.model import load_model_check
from edge.checks.place import Place, layout
from edge.checks.position import Position, Presence
from edge.checks.variant import Variant, VariantModel
from edge.config import Station
from edge.inference import Session
from edge.manifest import RegionManifest, ViewManifest
from edge.recipe import LoadedRecipe, RegionRecipe
from edge.references import Arrays, ReferenceSet
from edge.region import Closest, Region
from edge.register import Registration
from edge.tiles import Scales, Tiles


@dataclass(frozen=True)
class Loader:
    """Loads the regions of one view of a set. `threads` None: as many as the station gives a graph."""

    station: Station
    recipe: LoadedRecipe
    found: ReferenceSet
    view: ViewManifest
    registration: Registration
    threads: int | None

    def region(self, region: RegionManifest, wanted: RegionRecipe) -> Region:
        """The region, ready to score. Raises GoldlineError."""
        arrays = self.found.arrays(f"{self.view.camera}/{region.name}.npz")
        return Region(
            manifest=region,
            gate=gate.GateLimits(*(float(value) for value in arrays["gate"])),
            session=self._session(region, arrays) if region.bank else None,
            tiles=Tiles(*region.tiles),
            scales=Scales.from_arrays(arrays),
            variation=template.VariationModel.from_arrays(arrays) if "template" in region.checks else None,
            checks=tuple(self._checks(region, wanted, arrays)),
            closest=Closest.of(arrays["embedding"]),
        )

    def _session(self, region: RegionManifest, arrays: Arrays) -> Session:
        inference, tiles = self.station.inference, Tiles(*region.tiles)
        banks = [tiles.arrays(arrays, number) for number in range(len(tiles))]
        return Session(
            self.found.read(f"{self.view.camera}/{region.name}.onnx"),
            tensors=[memory.stored_tensors(bank, tiles.grid(region.grid)) for bank in banks],
            provider=inference.provider,
            threads=inference.threads if self.threads is None else self.threads,
            allow_fallback=inference.allow_fallback,
            engine_cache=self.station.state_dir / "engines",
        )

    def _checks(self, region: RegionManifest, wanted: RegionRecipe, arrays: Arrays) -> Iterator[Check[Any]]:
        """In the order of the recipe's sections."""
        if wanted.presence is not None or wanted.position is not None:
            at = layout(wanted, region.box, self.view.image_size, self.registration.frame_size)
            place = Place.from_arrays(at, arrays)
            if wanted.presence is not None:
                yield Presence(region.name, place)
            if wanted.position is not None:
                yield Position(region.name, place, wanted.position, self.recipe.recipe.mm_per_px(self.view.camera))
        if wanted.variant is not None:
            model = VariantModel.from_arrays(arrays)
            yield Variant(region.name, region.box, region.size, model, wanted.variant.expect)
        if wanted.code is not None:
            yield CodeReader(region.name, region.box, wanted.code)
        if wanted.model is not None:
            base = self.recipe.path.parent
            yield load_model_check(
                region.name,
                region.box,
                wanted.model,
                base,
                self.station.inference,
                threads=self.threads,
                engine_cache=self.station.state_dir / "engines",
            )
