"""Which variant is it: numbers drawn at random, and drawn parts seen through the real backbone."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import judge
from edge.backbone import feature_graph, feature_grid, load_backbone
from edge.checks import variant
from edge.checks.variant import UNKNOWN, Learned, Seen, Variant, VariantModel
from edge.errors import GoldlineError
from edge.inference import Session
from edge.judge import Calibration
from edge.positional import build_positional
from edge.records import Limits, Outcome
from edge.score_graph import compile_graph
from edge.tensors import tensors_of
from tests.drawn import Scene

NUMBERS = 300
# Of these, so many tell variants apart.
TELLING = 12


def embeddings(count: int, names: str = "abc", seed: int = 0, apart: float = 4.0):
    """`count` for each variant: noise, something that all vary in together, and a few numbers of the variant's own."""
    shapes = np.random.default_rng(100)
    common = shapes.normal(0, 1, (3, NUMBERS))
    own = {name: np.zeros(NUMBERS) for name in "abcd"}
    for numbers in own.values():
        numbers[:TELLING] = shapes.normal(0, apart / 2, TELLING)
    random, labels = np.random.default_rng(seed), [name for name in names for _ in range(count)]
    made = [own[name] + random.normal(0, 1, 3) @ common + random.normal(0, 0.5, NUMBERS) for name in labels]
    return np.array(made, np.float32), labels


def learned(count: int = 10, names: str = "abc", seed: int = 0) -> Learned:
    made, labels = embeddings(count, names, seed)
    return variant.learn(made, labels, images_of(labels))


def images_of(labels):
    return [f"{label}/{index:02d}.png" for index, label in enumerate(labels)]


def check(model: VariantModel, expect: str | None = None) -> Variant:
    return Variant("label", (10, 20, 100, 80), (64, 64), model, expect)


def finding(model: VariantModel, embedding, expect=None, order=None) -> judge.Finding:
    asked = check(model, expect)
    return asked.hold(asked.look(np.zeros((64, 64, 3), np.uint8), embedding), order or {})


def outcome(found: judge.Finding):
    calibration = Calibration(scales={}, limits=Limits(review=1, fail=3), images=0, rate=None)
    return judge.decide({}, calibration, {"label.variant": found})


# --- what is found


@pytest.mark.parametrize("count", [3, 10, 30])
def test_parts_not_seen_before_are_recognised(count: int):
    model = learned(count).model
    made, labels = embeddings(20, seed=1)
    found = [finding(model, embedding) for embedding in made]
    assert [one.found for one in found] == labels
    assert all(outcome(one).outcome is Outcome.PASS for one in found)


@settings(max_examples=30)
@given(seed=st.integers(1, 10_000), name=st.sampled_from("abc"), order=st.sampled_from("abc"))
def test_it_passes_exactly_where_it_is_what_the_order_names(seed: int, name: str, order: str):
    made, _ = embeddings(1, name, seed)
    found = finding(MODEL, made[0], order={"variant": order})
    assert (found.found, found.expected) == (name, order)
    verdict = outcome(found)
    assert verdict.outcome is (Outcome.PASS if name == order else Outcome.FAIL) and not verdict.review


MODEL = learned().model


@pytest.mark.parametrize(
    ("expect", "order", "passes"),
    [
        (None, {}, True),
        ("a", {}, True),
        ("b", {}, False),
        ("b", {"variant": "a"}, True),
        ("a", {"variant": "b"}, False),
        (None, {"code": "4711"}, True),
    ],
)
def test_the_order_counts_before_the_recipe(expect, order, passes):
    found = finding(MODEL, embeddings(1, "a", 5)[0][0], expect, order)
    assert (outcome(found).outcome is Outcome.PASS) is passes


def test_an_expected_variant_that_was_never_taught_is_a_problem():
    found = finding(MODEL, embeddings(1, "a", 5)[0][0], order={"variant": "z"})
    assert found.problem == "variant z was never taught; taught are a, b, c"
    assert outcome(found).outcome is Outcome.ERROR


def test_a_part_between_two_variants_fails_and_is_reviewed():
    made, _ = embeddings(40, seed=3)
    between = (made[:40].mean(0) + made[40:80].mean(0)) / 2
    found = finding(MODEL, between)
    assert found.found == "a or b" and 1 <= found.score < 2
    verdict = outcome(found)
    assert verdict.outcome is Outcome.FAIL and verdict.review


@pytest.mark.parametrize("order", [{}, {"variant": "a"}, {"variant": "c"}])
def test_a_part_of_a_variant_never_taught_fails_and_is_reviewed(order):
    made, labels = embeddings(20, apart=6)
    model = variant.learn(made, labels, images_of(labels)).model
    for embedding in embeddings(10, "d", 4, apart=6)[0]:
        found = finding(model, embedding, order=order)
        verdict = outcome(found)
        assert verdict.outcome is Outcome.FAIL and verdict.review and found.found == UNKNOWN


def test_a_part_far_from_all_is_unknown():
    far = embeddings(1, "a", 5)[0][0] + np.float32(50)
    found = finding(MODEL, far)
    assert found.found == UNKNOWN and found.score < 2


def test_features_that_are_not_finite_are_a_problem():
    found = finding(MODEL, np.full(NUMBERS, np.nan, np.float32))
    assert found.problem == "its features are not finite" and outcome(found).outcome is Outcome.ERROR


def test_it_answers_the_order_and_looks_at_the_region():
    asked = check(MODEL)
    assert (asked.name, asked.sight, asked.answers) == ("label.variant", "label", frozenset({"variant"}))


# --- what is learned


def test_a_small_difference_beside_a_large_one_is_seen():
    """Two variants differ in one number of three hundred, the third in all of them."""
    random = np.random.default_rng(0)

    def made(count: int):
        labels = [name for name in ("left", "right", "other") for _ in range(count)]
        found = random.normal(0, 1, (3 * count, NUMBERS))
        found[count : 2 * count, 7] += 12
        found[2 * count :] += 10
        return found.astype(np.float32), labels

    numbers, labels = made(12)
    model = variant.learn(numbers, labels, images_of(labels)).model
    numbers, labels = made(20)
    assert [finding(model, one).found for one in numbers] == labels


def test_what_good_images_vary_in_together_does_not_matter():
    """Light moves every number by far more than the variants differ."""
    random, light = np.random.default_rng(0), np.random.default_rng(1).normal(0, 1, NUMBERS)

    def made(count: int):
        labels = ["bright"] * count + ["dark"] * count
        found = random.normal(0, 0.1, (2 * count, NUMBERS)) + random.normal(0, 3, (2 * count, 1)) * light
        found[:count, :5] += 1.5
        return found.astype(np.float32), labels

    numbers, labels = made(15)
    model = variant.learn(numbers, labels, images_of(labels)).model
    numbers, labels = made(30)
    assert np.mean([one.apart.argmin() == (label == "dark") for one, label in seen_by(model, numbers, labels)]) > 0.95


def seen_by(model: VariantModel, numbers, labels) -> list[tuple[Seen, str]]:
    return [(model.look(one), label) for one, label in zip(numbers, labels, strict=True)]


def test_learning_says_how_well_variants_are_told_apart():
    assert learned().reason == "3 variants told apart on 100% of good images"


def test_variants_that_look_alike_are_refused_by_name():
    made, labels = embeddings(10, "abc")
    twins = [{"a": "left", "b": "other", "c": "other"}[label] for label in labels]
    twins = [("right" if index % 2 else "left") if twin == "left" else twin for index, twin in enumerate(twins)]
    with pytest.raises(
        GoldlineError, match=r"left and right look alike: of their 10 good images \d+ would .* \((left|right)/"
    ):
        variant.learn(made, twins, images_of(twins))


def test_the_same_picture_as_two_variants_is_refused():
    same = np.ones((8, NUMBERS), np.float32)
    with pytest.raises(GoldlineError, match="a and b look alike"):
        variant.learn(same, list("aaaabbbb"), images_of("aaaabbbb"))


def test_a_single_variant_is_refused():
    made, labels = embeddings(5, "a")
    with pytest.raises(GoldlineError, match="all good images are of variant a"):
        variant.learn(made, labels, images_of(labels))


def test_a_variant_of_one_image_is_refused():
    made, labels = embeddings(5, "ab")
    with pytest.raises(GoldlineError, match="variant b has one good image"):
        variant.learn(made[:6], labels[:6], images_of(labels[:6]))


def test_two_images_of_each_are_enough_where_they_differ_enough():
    made, labels = embeddings(2, "ab", apart=20)
    model = variant.learn(made, labels, images_of(labels)).model
    made, labels = embeddings(10, "ab", seed=8, apart=20)
    assert [model.names[int(one.apart.argmin())] for one, _ in seen_by(model, made, labels)] == labels


@settings(max_examples=20)
@given(st.permutations(list(range(15))))
def test_the_order_of_the_images_does_not_matter_much(order: list[int]):
    made, labels = embeddings(5)
    model = variant.learn(made[order], [labels[index] for index in order], images_of(labels)).model
    assert model.centres == pytest.approx(learned(5).model.centres, abs=1e-5)
    assert model.directions == pytest.approx(learned(5).model.directions, abs=1e-5)


def test_stored_without_pickle_it_finds_the_same():
    file = io.BytesIO()
    np.savez(file, bank=np.zeros(3), **MODEL.to_arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        restored = VariantModel.from_arrays(dict(arrays))
    assert (restored.names, restored.clear, restored.near) == (MODEL.names, MODEL.clear, MODEL.near)
    embedding = embeddings(1, "b", 2)[0][0]
    first, second = restored.look(embedding), MODEL.look(embedding)
    assert np.array_equal(first.apart, second.apart) and np.array_equal(first.away, second.away)


# --- drawn parts, the real backbone

SIZE = (256, 256)
# Where they differ.
MARK = (150, 120)


def lid(kind: str, name: str, seed: int):
    """A part whose emblem or hole says what it is; never twice in the same place or light."""
    random, picture = np.random.default_rng((seed, ord(name))), BASE.copy()
    if kind == "emblem":
        cv2.putText(picture, name.upper(), MARK, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (30, 30, 30), 2, cv2.LINE_AA)
    if kind == "hole":
        place = MARK[0] + {"a": 0, "b": 8, "c": 16}[name], MARK[1]
        cv2.circle(picture, place, 5, (20, 20, 20), -1, cv2.LINE_AA)
    if kind == "colour":
        colour = {"a": (40, 40, 200), "b": (40, 200, 60), "c": (210, 90, 40)}[name]
        cv2.circle(picture, MARK, 10, colour, -1, cv2.LINE_AA)
    matrix = cv2.getRotationMatrix2D((128, 128), float(random.normal(0, 0.15)), 1)
    matrix[:, 2] += random.normal(0, 0.5, 2)
    posed = cv2.warpAffine(picture, matrix, SIZE, borderMode=cv2.BORDER_REFLECT)
    light = 1 + random.uniform(-0.06, 0.06) + random.uniform(-0.05, 0.05) * np.linspace(-1, 1, SIZE[0])[None, :, None]
    return np.clip(posed * light + random.normal(0, 2.5, posed.shape) + 0.5, 0, 255).astype(np.uint8)


BASE = Scene(3, SIZE).view(noise=0)


@pytest.fixture(scope="module")
def embed():
    """Through the graph that the station runs: from pictures [n, h, w, 3] to [n, e]."""
    backbone = load_backbone()
    options = {"provider": "cpu", "threads": 1, "allow_fallback": False}
    pictures = np.stack([lid("emblem", "a", seed) for seed in range(2)])
    features = Session(feature_graph(backbone, SIZE), **options).run(pictures)["feat"]
    tensors = tensors_of(build_positional(features, feature_grid(backbone, SIZE), 1), 1)
    session = Session(compile_graph(backbone, tensors, SIZE, 0.01), tensors=tensors, **options)
    return lambda images: np.concatenate([session.run(image[None])["embedding"] for image in images])


@pytest.mark.parametrize("kind", ["emblem", "hole", "colour"])
def test_drawn_parts_are_told_apart(embed, kind: str):
    """By an emblem of a sixteenth of the picture's side, the place of a hole, or a colour."""
    labels = [name for name in "abc" for _ in range(8)]
    goods = embed([lid(kind, name, seed) for seed, name in enumerate(labels)])
    found = variant.learn(goods, labels, images_of(labels))
    assert found.accuracy == 1
    wanted = list("abcabcabc")
    held = [finding(found.model, one) for one in embed([lid(kind, name, 100 + i) for i, name in enumerate(wanted)])]
    assert [one.found for one in held] == wanted and all(one.score == 0 for one in held)


def test_an_emblem_never_taught_is_not_taken_for_one_that_was(embed):
    labels = [name for name in "ab" for _ in range(8)]
    model = variant.learn(
        embed([lid("emblem", name, seed) for seed, name in enumerate(labels)]), labels, images_of(labels)
    ).model
    for one in embed([lid("emblem", "c", seed) for seed in range(5)]):
        assert outcome(finding(model, one)).outcome is Outcome.FAIL
