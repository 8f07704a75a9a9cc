"""A product's recipe: valid in itself, fitting the station, with the hash of its file."""

import hashlib

import pytest

from edge.camera_config import FolderCamera, GigeCamera, SimulatedCamera
from edge.config import Station
from edge.errors import ConfigError
from edge.recipe import (
    LoadedRecipe,
    RegionRecipe,
    default_recipe,
    load_recipe,
    products,
    recipe_path,
    unmatched_roles,
    write_default_recipe,
)


@pytest.fixture
def station(tmp_path) -> Station:
    return Station(pipelines_dir=tmp_path / "pipelines", state_dir=tmp_path / "state")


def write(station: Station, text: str, product: str = "trunk") -> None:
    path = recipe_path(station, product)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def refusal(station: Station, text: str) -> list[str]:
    write(station, text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(station, "trunk")
    return [line.replace(str(recipe_path(station, "trunk")), "recipe.toml") for line in caught.value.problems]


def load(station: Station, text: str) -> LoadedRecipe:
    write(station, text)
    return load_recipe(station, "trunk")


REGION = '[[regions]]\nname = "part"\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            REGION + "anomaly = false\ntemplate = false",
            "recipe.toml: [regions #1]: has no check: everything in it would pass",
        ),
        (
            REGION + 'anomaly = false\ntemplate.mode = "off"',
            "recipe.toml: [regions #1]: has no check: everything in it would pass",
        ),
        ("regions = []", "recipe.toml: has no region: everything would pass"),
        (REGION + REGION, "recipe.toml: two regions are named part"),
        (REGION + "box = [0, 0, 0, 5]", "recipe.toml: [regions #1] box #3 = 0: must be greater than 0"),
        (REGION + "box = [0, 0, 4]", "recipe.toml: [regions #1] box #4: is missing"),
        (
            REGION + "[[regions]]\nname='b'\nboxx = 1",
            "recipe.toml: [regions #2] boxx = 1: unknown key; did you mean box?",
        ),
        (
            REGION + "anomaly.per_cel = 3",
            "recipe.toml: [regions #1.anomaly] per_cel = 3: unknown key; did you mean per_cell?",
        ),
        ("[limits]\nreview = 3.0\nfail = 2.5", "recipe.toml: [limits]: review = 3 must be at most fail = 2.5"),
        ("registration.max_shift = 0.6", "recipe.toml: [registration] max_shift = 0.6: must be at most 0.5"),
        ("regions = 3", "recipe.toml: regions = 3: must be a list"),
    ],
)
def test_a_refusal_names_section_key_value_and_bound(station, text, line):
    assert refusal(station, text) == [line]


def test_an_empty_recipe_looks_at_the_whole_frame_with_every_check(station):
    (region,) = load(station, "").recipe.regions
    assert region == RegionRecipe()
    assert region.anomaly is not None
    assert region.template is not None


def test_a_check_can_be_left_out(station):
    assert load(station, REGION + "anomaly = false").recipe.regions[0].anomaly is None
    assert load(station, REGION + "template = false").recipe.regions[0].template is None


def test_the_hash_is_that_of_the_file(station):
    text = 'description = "a part"\n'
    assert load(station, text).sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert load(station, text + "# said more\n").sha256 != hashlib.sha256(text.encode()).hexdigest()


def test_a_product_without_recipe_is_refused_with_the_place_it_should_be(station):
    with pytest.raises(ConfigError, match=r"product trunk: no recipe at .*/pipelines/trunk/recipe.toml"):
        load_recipe(station, "trunk")


@pytest.mark.parametrize("name", ["../etc", "a/b", "", "Trunk", ".hidden"])
def test_a_name_that_would_leave_the_folder_is_refused(station, name):
    with pytest.raises(ConfigError, match="product "):
        default_recipe(station, name)
    assert not station.pipelines_dir.exists()


def test_the_default_recipe_is_valid_and_never_replaces_one(station):
    written = default_recipe(station, "trunk")
    assert products(station) == []
    write_default_recipe(written)
    assert written == load_recipe(station, "trunk")
    assert products(station) == ["trunk"]
    write(station, "description = 'mine'")
    with pytest.raises(ConfigError, match="cannot be written: File exists"):
        write_default_recipe(written)
    assert load_recipe(station, "trunk").recipe.description == "mine"


def test_the_roles_of_shots_are_what_regions_look_at(station):
    loaded = load(station, '[[regions]]\nname = "a"\ncamera = "lid"\n[[regions]]\nname = "b"\ncamera = "main"')
    shot = [{"name": "bright", "role": "lid"}, {"name": "dark", "role": "rim"}]
    camera = GigeCamera.model_validate(
        {"source": "gige", "address": "a", "shot": shot, "trigger": {"mode": "software"}}
    )
    main, rim = unmatched_roles(station.model_copy(update={"cameras": {"top": camera}}), loaded)
    assert main.endswith('[regions #2] camera = "main": no camera has this role')
    assert rim.startswith('configuration: [cameras.top] shot dark: role = "rim": no region of ')


def test_roles_that_do_not_meet_are_named_on_both_sides(station, tmp_path):
    loaded = load(station, '[[regions]]\nname = "a"\ncamera = "top"\n[[regions]]\nname = "b"\ncamera = "side"')
    cameras = {
        "one": SimulatedCamera(source="simulated", role="top"),
        "two": FolderCamera(source="folder", path=tmp_path, role="bottom"),
    }
    side, bottom = unmatched_roles(station.model_copy(update={"cameras": cameras}), loaded)
    assert side.endswith('[regions #2] camera = "side": no camera has this role')
    assert bottom.startswith('configuration: [cameras.two] role = "bottom": no region of ')
