"""Faces, bricks and flowers: repeatable, of independent attributes, and showing what their attributes say."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from generative.data import store
from generative.data.attributes import Choices, independent
from generative.data.canvas import arc, smooth
from generative.data.drawn import bricks, faces, flowers
from tests.building import arrays, build

COUNTS = {"train": 40, "validation": 5, "test": 12}
FACES = {"source": "drawn/faces", "seed": 3, "size": 32, "smiling": 0.5, "glasses": 0.4, "beard": 0.4, "hat": 0.3} | COUNTS
BRICKS = {"source": "drawn/bricks", "seed": 3, "size": 32} | COUNTS
FLOWERS = {"source": "drawn/flowers", "seed": 3, "size": 32} | COUNTS
ALL = pytest.mark.parametrize(("module", "block"), [(faces, FACES), (bricks, BRICKS), (flowers, FLOWERS)])
PERSON = dict.fromkeys(["colour", *faces.VALUES], 0.0) | {"skin": 0.2, "width": 0.0, "turn": 0.0, "tilt": 0.0, "brows": 0.0, "shade": 1.0}
BRICK = {"turn": 0.7, "tilt": 0.7, "roll": 0.0, "size": 1.0, "tone": 0.5, "light": -1.0}
BLOSSOM = dict.fromkeys(["kind", *flowers.VALUES, *flowers.RANGES], 0.0) | {"radius": 0.45, "background": 1.0}


def person(**changed: str | float) -> np.ndarray:
    """(3, 64, 64) of one face; choices by name."""
    row = dict(PERSON)
    for key, value in changed.items():
        names = {"colour": list(faces.HAIR), **faces.VALUES}.get(key, [])
        row[key] = float(names.index(value)) if isinstance(value, str) else value
    ground = faces._ground(list(faces.GROUND.values())[int(row["background"])], 64 * faces.DETAIL)
    return faces.draw(faces.face(row), ground).astype(int)


def brick(kind: str, **changed: float) -> np.ndarray:
    return bricks.draw(BRICK | {"kind": list(bricks.KINDS).index(kind)} | changed, 64)[0].astype(int)


def blossom(kind: str, **changed: float) -> np.ndarray:
    details = np.full(4 + 4 * flowers.SPOTS, 0.5, np.float32)
    return flowers.draw(BLOSSOM | {"kind": list(flowers.KINDS).index(kind)} | changed, details, 64).astype(int)


def changes(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(H, W): where two pictures differ clearly."""
    return np.abs(first - second).max(axis=0) > 24


@ALL
def test_a_seed_gives_the_same_bits_and_the_first_of_many_are_those_of_few(
    module: ModuleType, block: dict[str, Any], tmp_path: Path
) -> None:
    few, again = (build(module, block, tmp_path / name) for name in ("few", "again"))
    many = build(module, block | {"train": 60, "validation": 9, "test": 20}, tmp_path / "many")
    other = build(module, block | {"seed": 4}, tmp_path / "other")
    assert few.info.fingerprint == again.info.fingerprint != other.info.fingerprint
    for split in store.SPLITS:
        for key, array in arrays(few, split).items():
            np.testing.assert_array_equal(array, arrays(many, split)[key][: len(array)])
    train, test = arrays(few, "train")["x"], arrays(few, "test")["x"]
    assert not any((train == one).all(axis=(1, 2, 3)).any() for one in test)
    assert few.info.shape == [1 if module is bricks else 3, 32, 32]


@ALL
def test_a_size_is_a_resolution_of_the_same_picture(module: ModuleType, block: dict[str, Any], tmp_path: Path) -> None:
    small, large = (arrays(build(module, block | {"size": s}, tmp_path / str(s)), "test")["x"].astype(float) for s in (32, 64))
    halved = large.reshape(*large.shape[:2], 32, 2, 32, 2).mean(axis=(3, 5))
    assert np.abs(halved - small).mean() < 6
    assert np.abs(halved - np.roll(small, 1, axis=0)).mean() > 12


def test_attributes_are_independent_and_as_frequent_as_asked() -> None:
    choices = Choices({"colour": list(faces.HAIR), **faces.VALUES}, faces.RANGES, {"hat": 0.3, "smiling": 0.0, "beard": 1.0})
    columns = independent(choices, 1, 0, 20000)
    varying = np.stack([column for name, column in columns.items() if name != "smiling"])
    correlated = np.abs(np.corrcoef(varying) - np.eye(len(varying)))
    assert correlated.max() < 0.035
    assert (columns["hat"] > 0).mean() == pytest.approx(0.3, abs=0.02)
    assert np.bincount(columns["hat"].astype(int)).tolist() == pytest.approx([14000, 3000, 3000], rel=0.1)
    assert not columns["smiling"].any()
    assert set(columns["beard"]) == {1.0, 2.0}
    assert np.bincount(columns["colour"].astype(int)).min() > 20000 / len(faces.HAIR) * 0.93
    assert [columns["skin"].min(), columns["skin"].max()] == pytest.approx([0, 1], abs=0.01)


@pytest.mark.parametrize(
    ("changed", "rows", "columns"),
    [
        ({"hat": "beanie"}, (0, 26), (0, 64)),
        ({"hat": "cap"}, (0, 27), (0, 64)),
        ({"smiling": "yes"}, (42, 56), (20, 44)),
        ({"glasses": "round"}, (26, 42), (10, 54)),
        ({"eyes": "blue"}, (28, 40), (20, 44)),
        ({"beard": "moustache"}, (38, 50), (22, 42)),
        ({"beard": "full"}, (36, 64), (14, 50)),
        ({"brows": 1.0}, (20, 36), (18, 46)),
        ({"shirt": "crimson"}, (50, 64), (0, 64)),
    ],
)
def test_an_attribute_of_a_face_changes_its_part_and_nothing_else(changed: dict[str, Any], rows: Any, columns: Any) -> None:
    different = changes(person(brows=-1.0), person(**{"brows": -1.0} | changed))
    assert different.sum() >= 4
    different[slice(*rows), slice(*columns)] = False
    assert not different.any()


def test_the_background_is_behind_and_the_turn_moves_the_features() -> None:
    different = changes(person(background="sky"), person(background="peach"))
    assert different[:10, :10].all()
    assert not different[30:44, 24:40].any()
    left, right = person(turn=-1.0, eyes="blue"), person(turn=1.0, eyes="blue")
    blue = [np.argwhere((one[2] - one[0] > 60)[28:42, 14:50])[:, 1].mean() for one in (left, right)]
    assert blue[1] - blue[0] > 4


@pytest.mark.parametrize("hair", faces.VALUES["hair"])
@pytest.mark.parametrize("hat", faces.VALUES["hat"])
def test_no_hat_hides_the_colour_of_the_hair(hair: str, hat: str) -> None:
    black, blond = person(hair=hair, hat=hat, colour="black"), person(hair=hair, hat=hat, colour="blond")
    assert changes(black, blond).sum() > 60
    assert changes(black, blond)[:28].sum() > 25  # above the eyes, where there are no brows and no beard


def test_a_brick_that_is_turned_by_half_looks_the_same_unless_it_slopes() -> None:
    for kind in ("brick 1x2", "brick 2x4", "plate 1x4", "round 2x2"):
        assert np.abs(brick(kind) - brick(kind, turn=BRICK["turn"] + np.pi)).max() <= 12
    assert changes(brick("slope 2x2")[None], brick("slope 2x2", turn=BRICK["turn"] + np.pi)[None]).sum() > 200
    assert changes(brick("brick 1x2")[None], brick("brick 1x2", turn=BRICK["turn"] + np.pi / 2)[None]).sum() > 100


def test_the_camera_keeps_lengths_and_the_light_falls_as_lambert_says() -> None:
    for k in range(20):
        row = {name: np.random.default_rng(k).uniform(*bounds) for name, bounds in bricks.RANGES.items()}
        scene = bricks._scene(row, bricks.KINDS["brick 2x4"])
        np.testing.assert_allclose(scene.camera @ scene.camera.T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(np.cross(scene.camera[0], scene.camera[1]), scene.camera[2], atol=1e-12)
        top, down = scene.shade(np.array([[0.0, 0, 1], [0, 0, -1]]))
        between = np.add(scene.light, [0, 0, 1])
        facing, angled = scene.shade(np.stack([scene.light, between / np.linalg.norm(between)]))
        assert down < top < angled < facing < 255
        assert scene.camera[2] @ [0, 0, 1] < 0  # from above


def test_every_brick_stands_whole_in_the_picture_on_light_paper() -> None:
    for kind in bricks.KINDS:
        for k in range(8):
            image = brick(kind, size=1.1, turn=0.4 * k, tilt=0.9, tone=0.0)
            edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
            assert edge.min() > 120  # a shadow may reach it
            assert (image < 120).sum() > 100


def test_a_hull_is_convex_and_holds_every_point() -> None:
    points = np.random.default_rng(0).normal(size=(40, 2))
    hull = bricks._hull(points)
    sides = np.roll(hull, -1, axis=0) - hull
    left = sides[:, None, 0] * (points[None] - hull[:, None])[..., 1] - sides[:, None, 1] * (points[None] - hull[:, None])[..., 0]
    assert (left > -1e-12).all()


@pytest.mark.parametrize(("kind", "extra"), [("lily", 0), ("lily", 2), ("daisy", 0), ("daisy", 1)])
def test_a_blossom_has_as_many_petals_as_it_says(kind: str, extra: int) -> None:
    image = blossom(kind, extra=float(extra))
    petals = flowers.KINDS[kind].petals + extra * (1 + flowers.KINDS[kind].petals // 8)
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    x, y = (np.round(31.5 + 64 * 0.45 * 0.8 * f(angles)).astype(int) for f in (np.cos, np.sin))
    inside = image[:, y, x].min(axis=0) > 120  # white petals on dusk
    assert (inside & ~np.roll(inside, 1)).sum() == petals


def test_turning_a_blossom_by_one_petal_changes_nothing() -> None:
    for kind in flowers.KINDS:
        assert changes(blossom(kind, turn=0.25), blossom(kind, turn=1.25)).sum() <= 8  # where rounding puts a point in the next petal
    assert changes(blossom("cherry", turn=0.0), blossom("cherry", turn=0.5)).sum() > 100


def test_leaning_makes_a_blossom_narrower_along_its_direction() -> None:
    lain = blossom("poppy", lean=1.0, towards=0.0).min(axis=0) > 120
    rows, columns = np.flatnonzero(lain.any(axis=1)), np.flatnonzero(lain.any(axis=0))
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(1 - 0.45**2, abs=0.08)


def test_curves_keep_their_ends_and_stay_within_their_corners() -> None:
    curve = arc((0, 0), (1, 2), (2, 0))
    assert [curve[0].tolist(), curve[-1].tolist(), curve[4].tolist()] == [[0, 0], [2, 0], [1, 1]]
    square = smooth([(0, 0), (1, 0), (1, 1), (0, 1)])
    assert square.min() == 0 < np.hypot(*square.T).min()
    assert square.mean() == pytest.approx(0.5)
