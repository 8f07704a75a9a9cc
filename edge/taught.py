"""The recipe that a reference set was taught by, so that a set can be judged with after the recipe has changed.

A set keeps the part of its recipe that was taught (`references.taught_by`). The rest may change at any time, and is taken
from the recipe there is now: limits, tolerances, what variants and codes must be, models of the user's own.
"""

import copy
from collections.abc import Mapping
from typing import Any, cast

from pydantic import ValidationError

from edge.config import Station
from edge.recipe import LoadedRecipe, Recipe
from edge.records import Record
from edge.references import NOT_TAUGHT, ReferenceSet, ReferenceSetError, Store, taught_by

Table = dict[str, Any]


class Difference(Record, frozen=True):
    """A key by which two sets were taught differently; null where one has no such region, check or value."""

    key: str
    this: Any
    against: Any


def as_taught(now: LoadedRecipe, found: ReferenceSet) -> LoadedRecipe:
    """The recipe that a set was taught by, with all that is not taught as it is now. Raises ReferenceSetError."""
    manifest = found.manifest
    if manifest.product != now.product:
        raise ReferenceSetError(f"{found.directory}: taught for product {manifest.product}, not for {now.product}")
    if taught_by(now.recipe) == manifest.taught:
        return now
    try:
        recipe = Recipe.model_validate(_with_the_rest(manifest.taught, now.recipe))
    except ValidationError as problem:
        told = problem.errors()[0]
        raise ReferenceSetError(
            f"{found.directory}: the recipe it was taught by does not hold any more: "
            f"{'.'.join(map(str, told['loc']))}: {told['msg']}; teach again"
        ) from problem
    return LoadedRecipe(now.product, recipe, manifest.recipe_sha256, now.path)


def _with_the_rest(taught: Table, now: Recipe) -> Table:
    """What was taught, completed by what is not."""
    whole, present = copy.deepcopy(taught), now.model_dump(mode="json")
    twins = {(region["name"], region["camera"]): region for region in present["regions"]}
    for region in whole["regions"]:
        twin = twins.get((region["name"], region["camera"]))
        if twin is not None:
            region.update(code=twin["code"], model=twin["model"])
            _complete(region, twin)
    for role in {region["camera"] for region in whole["regions"]} & now.views.keys():
        whole["views"].setdefault(role, {})["mm_per_px"] = now.mm_per_px(role)
    return {**whole, "limits": present["limits"], "description": now.description}


def _complete(region: Table, twin: Table) -> None:
    """Keys that only decide, of checks that the region has then and now."""
    for check, names in NOT_TAUGHT.items():
        if region.get(check) is not None and twin[check] is not None:
            region[check].update({name: twin[check][name] for name in names})


def find(station: Station, product: str, prefix: str) -> str:
    """The product's one set whose id starts so. Raises ReferenceSetError, which says where another product has it."""
    store = Store(station.state_dir, product)
    if not any(identity.startswith(prefix) for identity in store.identities()):
        for folder in sorted(store.root.parent.glob("*/")):
            if any(one.startswith(prefix) for one in Store(station.state_dir, folder.name).identities()):
                raise ReferenceSetError(f"reference set {prefix} is one of product {folder.name}, not of {product}")
    return store.find(prefix)


def differences(this: Mapping[str, Any], against: Mapping[str, Any]) -> tuple[Difference, ...]:
    """By which keys two sets were taught differently, from what their manifests say. Raises pydantic.ValidationError."""
    return tuple(_differences("", _by_name(this), _by_name(against)))


def _by_name(taught: Mapping[str, Any]) -> Table:
    """With the regions by their names, and what an earlier program did not know at its default."""
    # A region may have had nothing else: codes are not taught, and a region without a check is no recipe.
    regions: list[Table] = [{**region, "code": {}} for region in taught["regions"]]
    whole = taught_by(Recipe.model_validate({**taught, "regions": regions}))
    return {**whole, "regions": {region["name"]: region for region in whole["regions"]}}


def _differences(key: str, this: Any, against: Any) -> list[Difference]:
    if isinstance(this, dict) and isinstance(against, dict):
        one, other = cast("Table", this), cast("Table", against)
        return [
            difference
            for name in dict.fromkeys((*one, *other))
            for difference in _differences(f"{key}.{name}" if key else name, one.get(name), other.get(name))
        ]
    is_same = this == against or (_is_empty(this) and _is_empty(against))
    return [] if is_same else [Difference(key=key, this=this, against=against)]


def _is_empty(value: Any) -> bool:
    """Nothing, or a table without a value, which says as much."""
    return all(map(_is_empty, cast("Table", value).values())) if isinstance(value, dict) else value is None
