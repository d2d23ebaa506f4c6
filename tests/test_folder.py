"""A person's own folder of pictures, its table, and how a picture is decoded and fitted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from generative.data import images, store
from generative.data.real import folder
from generative.data.table import read_table
from generative.errors import UsageError
from tests.building import MIRROR, arrays, build

FOLDER = {
    "source": "real/folder", "seed": 3, "validation": 1, "path": "own", "attributes": "", "label": "",
    "size": 8, "fit": "crop", "channels": 3, "test": 1,
}  # fmt: skip


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Six small pictures of one colour each, a.png to f.png, the last in a subfolder."""
    folder = tmp_path / "own"
    (folder / "more").mkdir(parents=True)
    for i, name in enumerate(["a.png", "b.jpg", "c.png", "d.png", "e.webp", "more/f.png"]):
        Image.new("RGB", (20, 10 + i), (40 * i, 0, 0)).save(folder / name, quality=100)
    (folder / "README.txt").write_text("no picture")
    return folder


def read_folder(own: Path, **changed: Any) -> store.Dataset:
    return build(folder, FOLDER | {"path": str(own)} | changed, own.parent)


def whole(dataset: store.Dataset, key: str) -> np.ndarray:
    return np.concatenate([arrays(dataset, split)[key] for split in store.SPLITS])


def test_a_folder_is_copied_as_it_is_and_read_whole(own: Path) -> None:
    dataset = read_folder(own)
    assert dataset.info.counts == {"train": 4, "validation": 1, "test": 1}
    assert sorted(round(x[0].mean() / 40) for x in whole(dataset, "x")) == [0, 1, 2, 3, 4, 5]
    raw = own.parent / "raw"
    assert (raw / "images" / "more" / "f.png").read_bytes() == (own / "more" / "f.png").read_bytes()
    manifest = json.loads((raw / "manifest.json").read_text())
    assert len(manifest) == 6
    assert all(len(sha) == 64 for sha in manifest.values())
    assert dataset.info.notes == []


def test_what_cannot_be_read_is_skipped_with_its_reason(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(own / "cut.png")
    (own / "cut.png").write_bytes((own / "cut.png").read_bytes()[:2000])
    (own / "text.jpg").write_text("no picture")
    Image.new("L", (300, 300)).save(own / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    notes = read_folder(own).info.notes
    assert len(notes) == 3
    for note, said in zip(notes, ["cut.png: ", "huge.png: more than the 50,000 pixels", "text.jpg: not an image"], strict=True):
        assert note.startswith("skipped, unreadable: ")
        assert said in note


def test_a_folder_with_nothing_usable_is_refused(own: Path) -> None:
    for file in list(own.rglob("*.*")):
        file.write_text("no picture")
    with pytest.raises(UsageError, match=r"data\.x\.test: .*below the 0 usable images, got 2\n.*a\.png: not an image"):
        read_folder(own)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"path": "nowhere"}, r"params\.yaml: data\.x\.path: expected a folder of images, got 'nowhere', .*folder .*GENERATIVE_MIRROR"),
        ({"attributes": "none.csv"}, r"params\.yaml: data\.x\.attributes: expected a table, got .*none\.csv"),
        ({"test": 5}, r"params\.yaml: data\.x\.test: expected test \+ validation below the 6 usable images, got 6"),
        ({"label": "hair"}, r"params\.yaml: data\.x\.label: no column 'hair' in the table"),
    ],
)
def test_a_wrong_key_is_named(own: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_folder(own, **changed)


def test_a_folder_that_is_not_here_is_looked_for_in_the_mirror(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERATIVE_MIRROR", str(own.parent))
    assert sum(build(folder, FOLDER, own.parent / "built").info.counts.values()) == 6
    monkeypatch.setenv("GENERATIVE_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match=r"data\.x\.path: expected a folder of images, got 'own'"):
        build(folder, FOLDER, own.parent / "again")


def test_a_table_gives_attributes_and_classes(own: Path) -> None:
    rows = "a.png,blue,-1,0.5\nb.jpg,red,1,1.5\nc.png,red,1,\nd.png,blue,1,2\nf.png,green,-1,3\nz.png,blue,1,1\n"
    (own / "table.csv").write_text("image_id,colour,smiling,age\n" + rows)
    dataset = read_folder(own, attributes="table.csv", label="smiling")
    info = dataset.info
    assert info.classes == ["-1", "1"]
    assert info.attributes == ["colour", "age"]
    assert info.values == {"colour": ["blue", "green", "red"]}
    assert info.notes == ["skipped, not in the table: e.webp", "skipped, a number is missing in the table: c.png"]
    reds = np.array([round(x[0].mean() / 40) for x in whole(dataset, "x")])
    found = {int(r): (int(y), *map(float, a)) for r, y, a in zip(reds, whole(dataset, "y"), whole(dataset, "attributes"), strict=True)}
    assert found == {0: (0, 0.0, 0.5), 1: (1, 2.0, 1.5), 3: (1, 0.0, 2.0), 5: (0, 1.0, 3.0)}


def test_a_column_of_prose_is_left_out(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "CHOICES", 3)
    names = ["a.png", "b.jpg", "c.png", "d.png", "e.webp", "f.png"]
    (own / "table.csv").write_text("name,caption\n" + "".join(f"{name},caption of {name}\n" for name in names))
    info = read_folder(own, attributes="table.csv").info
    assert info.attributes == []
    assert info.notes == ["column caption is left out: text with 6 different values"]


def test_a_table_of_other_images_is_refused(own: Path) -> None:
    (own / "table.csv").write_text("image_id,age\n1.png,3\n")
    with pytest.raises(UsageError, match=r"data\.x\.attributes: expected names of the images such as a\.png, got names such as 1\.png"):
        read_folder(own, attributes="table.csv")


def test_both_forms_of_celeba_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image_id,Bald,Smiling\n000001.jpg,-1,1\n000002.jpg,1,-1\n")
    (tmp_path / "a.txt").write_text("2\nBald Smiling \n000001.jpg -1  1\n000002.jpg  1 -1\n")
    assert read_table(tmp_path / "a.csv") == read_table(tmp_path / "a.txt")
    assert read_table(tmp_path / "a.csv").rows["000002.jpg"] == ["1", "-1"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "expected a line of column names and rows below it"),
        ("image_id,a\nx.png,1,2\n", "row 1: expected 2 cells like the line of column names, got 3"),
        ("image_id,a\nx.png,1\nx.png,2\n", "row 2: x.png stands in an earlier row too"),
        ("3\nBald\nx.png 1\n", "expected 3 rows as its first line says, got 1"),
        ("image_id,a,a\nx.png,1,2\n", "expected different names of columns"),
    ],
)
def test_a_broken_table_is_named(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(UsageError, match=f"a.csv: {said}"):
        read_table(tmp_path / "a.csv")


@pytest.mark.skipif(not (MIRROR / "cartoonset").is_dir(), reason="no mirror of the real data")
def test_cartoon_faces_from_the_mirror(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for file in sorted((MIRROR / "cartoonset" / "img128").iterdir())[:60]:
        (own / file.name).symlink_to(file)
    (own / "table.csv").symlink_to(MIRROR / "cartoonset" / "derived_attributes.csv")
    dataset = read_folder(own, attributes="table.csv", label="hair_color", size=64)
    assert dataset.info.attributes == ["face_color", "Blond_Hair", "face_rgb", "hair_rgb"]
    assert sum(dataset.info.counts.values()) == 60
    assert whole(dataset, "x")[:, :, 0, 0].min() == 255  # the corners of these faces are white


def test_fit_pads_crops_and_resizes() -> None:
    wide = Image.fromarray(np.repeat(np.array([[10, 10, 200, 200, 200, 200, 90, 90]], np.uint8), 4, axis=0))
    padded = images.to_array(images.fit(wide, 8, "pad"))[0]
    assert padded[:2].max() == padded[6:].max() == 0
    np.testing.assert_array_equal(padded[2:6], np.asarray(wide))
    assert (images.to_array(images.fit(wide, 4, "crop")) == 200).all()
    assert images.to_array(images.fit(wide, 4, "resize"))[0, 0, -1] < 120
    assert images.fit(wide, 4, "pad").size == (4, 4)


def test_fit_all_agrees_with_fit() -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, 3, 5, 7), dtype=np.uint8)
    for how in ("pad", "crop", "resize"):
        for size in (4, 5, 7, 12):
            each = np.stack([images.to_array(images.fit(images.to_image(one), size, how)) for one in x])
            np.testing.assert_array_equal(images.fit_all(x, size, how), each)


def test_decode_turns_flattens_and_scales(tmp_path: Path) -> None:
    turned = Image.new("RGB", (8, 4), "black")
    exif = turned.getexif()
    exif[0x0112] = 6  # stored on its side
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert images.decode(tmp_path / "turned.jpg", 3).size == (4, 8)
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert images.decode(tmp_path / "clear.png", 3).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 50, 50, 50])
    palette.save(tmp_path / "palette.png", transparency=1)
    assert images.decode(tmp_path / "palette.png", 1).getpixel((0, 0)) == 255
    Image.fromarray(np.full((4, 4), 128 * 257, np.uint16)).save(tmp_path / "deep.png")
    assert images.decode(tmp_path / "deep.png", 1).getpixel((0, 0)) == 128
