"""Sorting good images: roles, variants and lots are sub-folders, and a folder of bad parts is never taken for a lot."""

from pathlib import Path

import pytest

from edge.errors import GoldlineError
from edge.recipe import Recipe
from edge.sorting import sort_in

ONE = Recipe()
TWO = Recipe.model_validate({"regions": [{"name": "a", "camera": "top"}, {"name": "b", "camera": "side"}]})
VARIANTS = Recipe.model_validate({"regions": [{"name": "a", "variant": {}}]})


def folder(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def found(root: Path, recipe: Recipe, role: str = "main") -> list[tuple[str, str, str]]:
    return [(file.name, file.variant, file.lot) for file in sort_in(root, recipe, role)]


def test_images_directly_in_the_folder_are_of_no_lot_and_what_lies_below_is_left_alone(tmp_path: Path) -> None:
    assert found(folder(tmp_path, "b.png", "a.png", "rejects/c.png"), ONE) == [("a.png", "", ""), ("b.png", "", "")]


def test_folders_of_images_are_lots(tmp_path: Path) -> None:
    folder(tmp_path, "monday/a.png", "tuesday/a.png", ".hidden/a.png", "empty/notes.txt")
    assert found(tmp_path, ONE) == [("monday/a.png", "", "monday"), ("tuesday/a.png", "", "tuesday")]


def test_a_labelled_data_set_is_refused_with_the_folder_that_was_meant(tmp_path: Path) -> None:
    folder(tmp_path, "good/a.png", "scratch/a.png")
    with pytest.raises(GoldlineError, match=r"scratch beside good: give the folder of good images, .*/good"):
        sort_in(tmp_path, ONE, "main")


def test_each_camera_role_has_a_folder(tmp_path: Path) -> None:
    folder(tmp_path, "top/a.png", "side/b.png")
    assert found(tmp_path, TWO, "side") == [("b.png", "", "")]
    with pytest.raises(GoldlineError, match="expected one folder for each camera role: side, top"):
        sort_in(tmp_path / "top", TWO, "side")


def test_each_variant_has_a_folder_which_may_have_lots(tmp_path: Path) -> None:
    folder(tmp_path, "oak/a.png", "ash/early/b.png", "ash/late/c.png")
    assert found(tmp_path, VARIANTS) == [
        ("ash/early/b.png", "ash", "early"),
        ("ash/late/c.png", "ash", "late"),
        ("oak/a.png", "oak", ""),
    ]


def test_variants_without_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GoldlineError, match="images beside the folders of variants"):
        sort_in(folder(tmp_path / "beside", "a.png", "oak/b.png", "ash/c.png"), VARIANTS, "main")
    with pytest.raises(GoldlineError, match="1 folders of variants; there is nothing to tell apart"):
        sort_in(folder(tmp_path / "one", "oak/b.png"), VARIANTS, "main")


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(GoldlineError, match="no images"):
        sort_in(tmp_path, ONE, "main")
