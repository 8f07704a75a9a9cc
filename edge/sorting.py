"""Which good images a folder holds, and of what: the camera role, the variant and the lot are its sub-folders.

    DIR/[<role>/][<variant>/][<lot>/]*.png

Roles where the recipe looks through several cameras, variants where a region of the role has a variant check, lots
where there are folders and no images beside them: images that were taken together, of one batch or shift, and resemble
each other.
"""

from dataclasses import dataclass
from pathlib import Path

from edge.errors import GoldlineError
from edge.images import has_images, list_images
from edge.recipe import Recipe

# A folder of this name among others is a labelled data set, and its neighbours are bad parts.
LABELLED = "good"


@dataclass(frozen=True)
class Sorted:
    """An image file; `name` is its path below the role's folder. Empty where there is no variant or lot."""

    path: Path
    name: str
    variant: str = ""
    lot: str = ""


def sort_in(directory: Path, recipe: Recipe, role: str) -> list[Sorted]:
    """Every good image of a camera role, by name. Raises GoldlineError naming the folder that is not as it should be."""
    root = directory / role if len(recipe.roles) > 1 else directory
    if not root.is_dir():
        why = f"expected one folder for each camera role: {', '.join(recipe.roles)}" if root != directory else ""
        raise GoldlineError(f"{root}: not a folder" + (f"; {why}" if why else ""))
    if any(region.variant for region in recipe.regions_of(role)):
        return _variants(root)
    return _lots(root, root, "")


def _variants(root: Path) -> list[Sorted]:
    folders = _folders(root)
    if has_images(root):
        raise GoldlineError(f"{root}: images beside the folders of variants; the recipe wants one folder a variant")
    if len(folders) < 2:
        raise GoldlineError(f"{root}: {len(folders)} folders of variants; there is nothing to tell apart")
    return [file for folder in folders for file in _lots(root, folder, folder.name)]


def _lots(root: Path, folder: Path, variant: str) -> list[Sorted]:
    if has_images(folder):
        return [_sorted(root, path, variant, "") for path in list_images(folder)]
    lots = [lot for lot in _folders(folder) if has_images(lot)]
    if len(lots) > 1 and LABELLED in {lot.name for lot in lots}:
        others = ", ".join(lot.name for lot in lots if lot.name != LABELLED)
        raise GoldlineError(
            f"{folder}: {others} beside {LABELLED}: give the folder of good images, {folder / LABELLED}"
        )
    if not lots:
        list_images(folder)  # says that there are none
    return [_sorted(root, path, variant, lot.name) for lot in lots for path in list_images(lot)]


def _sorted(root: Path, path: Path, variant: str, lot: str) -> Sorted:
    return Sorted(path, path.relative_to(root).as_posix(), variant, lot)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
