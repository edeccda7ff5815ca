"""Folders of images: any size, mode and rotation; what cannot be used is listed and left out."""

import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_problems import named
from PIL import Image

from fitwell.data import BadData, Data, check, read
from fitwell.data.inputs import read_inputs
from fitwell.spec import Spec


def picture(seed: int, size: tuple[int, int] = (20, 16), mode: str = "RGB") -> Image.Image:
    """A noisy image of (width, height), the same for the same seed."""
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    return Image.fromarray(array).convert(mode)


def fill_folder(root: Path, classes: tuple[str, ...] = ("cat", "dog"), each: int = 6) -> Path:
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(each):
            picture(100 * c + i).save(root / name / f"{i}.png")
    return root


def row(data: Data, key: str) -> np.ndarray:
    return data.inputs[data.keys.tolist().index(key)]


def test_class_folders(tmp_path: Path) -> None:
    data = read(fill_folder(tmp_path / "My pets"))
    assert data.name == "my-pets"
    assert data.spec.classes == ("cat", "dog")
    assert data.spec.class_counts == (6, 6)
    assert data.inputs.shape == (12, 3, 16, 20)  # all equal and small: kept as they are
    assert data.inputs.dtype == np.uint8
    assert data.keys[0] == "cat/0.png"
    np.testing.assert_array_equal(
        row(data, "dog/3.png"), np.asarray(picture(103)).transpose(2, 0, 1)
    )


@pytest.mark.skipif(sys.platform == "win32", reason="making links needs a right there")
def test_a_link_to_nowhere_is_listed(tmp_path: Path) -> None:
    fill_folder(tmp_path)
    (tmp_path / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    _, problems = check(tmp_path)
    bad = named(problems, "unreadable_files")
    assert bad.where == ("cat/gone.png",) and "link" in bad.message


@pytest.mark.parametrize(("asked", "side"), [(0, 24), (12, 12)])
def test_sizes_differ_short_side_and_centre_crop(tmp_path: Path, asked: int, side: int) -> None:
    fill_folder(tmp_path)
    wide = np.zeros((24, 72, 3), np.uint8)
    wide[:, 24:48] = 200  # the centre third survives the crop, the sides do not
    for i in range(30):
        Image.fromarray(wide + i).save(tmp_path / "cat" / f"wide{i}.png")
    data = read(tmp_path, {"image_size": asked})
    assert data.inputs.shape[1:] == (3, side, side)
    middle = row(data, "cat/wide0.png")[:, 2:-2, 2:-2]
    assert (middle == 200).all()


def test_squashed_images_keep_their_sides_everywhere(tmp_path: Path) -> None:
    fill_folder(tmp_path)
    wide = np.zeros((24, 72, 3), np.uint8)
    wide[:, 24:48] = 200
    for i in range(30):
        Image.fromarray(wide + i).save(tmp_path / "cat" / f"wide{i}.png")
    data = read(tmp_path, {"image_size": 12, "resize": "squash"})
    assert data.spec.resize == "squash" and Spec.from_json(data.spec.to_json()) == data.spec
    squashed = row(data, "cat/wide0.png")
    assert (squashed[:, :, 5:7] == 200).all() and (squashed[:, :, [0, -1]] == 0).all()
    # What the model reads later comes the same way, whatever it comes from.
    path = tmp_path / "cat" / "wide0.png"
    again = read(tmp_path, like=data.spec)
    assert np.array_equal(row(again, "cat/wide0.png"), squashed)
    assert np.array_equal(read_inputs(path, data.spec).inputs[0], squashed)
    array = wide.transpose(2, 0, 1)[None]
    assert np.array_equal(read_inputs(array, data.spec).inputs[0], squashed)
    assert read(
        (np.repeat(array, 40, 0), np.arange(40) % 2), {"resize": "squash", "image_size": 12}
    )


def test_large_images_are_brought_to_64(tmp_path: Path) -> None:
    for c in ("a", "b"):
        (tmp_path / c).mkdir()
        for i in range(3):
            picture(i, (300 + i, 200)).save(tmp_path / c / f"{i}{c}.jpg")
    assert read(tmp_path).inputs.shape == (6, 3, 64, 64)


def test_grey_stays_grey_and_mixed_becomes_colour(tmp_path: Path) -> None:
    for c in (0, 1):
        (tmp_path / str(c)).mkdir()
        for i in range(4):
            picture(10 * c + i, mode="L").save(tmp_path / str(c) / f"{i}.png")
    assert read(tmp_path).spec.input_shape == (1, 16, 20)
    picture(99).save(tmp_path / "0" / "colour.png")
    data = read(tmp_path)
    assert data.spec.input_shape == (3, 16, 20)
    grey = row(data, "1/2.png")
    assert (grey[0] == grey[1]).all()


def test_every_mode_is_used(tmp_path: Path) -> None:
    fill_folder(tmp_path)
    folder = tmp_path / "cat"
    flat = Image.new("RGB", (20, 16), (200, 100, 50))
    flat.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    flat.convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "palette.png")
    flat.save(folder / "plain.png")
    half = flat.convert("RGBA")
    half.putalpha(0)
    half.save(folder / "clear.png")
    deep = (np.arange(320).reshape(16, 20) * 200).astype(np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(deep.astype(np.int32)).save(folder / "deep.tif")
    Image.new("1", (20, 16), 1).save(folder / "bits.png")
    picture(7, mode="LA").save(folder / "la.png")
    data, problems = check(tmp_path)
    assert data is not None
    assert "unreadable_files" not in {p.name for p in problems}
    plain = row(data, "cat/plain.png").astype(int)
    assert np.abs(row(data, "cat/cmyk.jpg").astype(int) - plain).max() <= 12
    assert np.abs(row(data, "cat/palette.png").astype(int) - plain).max() <= 2
    assert (row(data, "cat/clear.png") == 255).all()  # transparent: the white below shows
    expected = np.round(deep / 257)
    for name in ("deep.png", "deep.tif"):
        assert np.abs(row(data, f"cat/{name}")[0] - expected).max() <= 1
    assert (row(data, "cat/bits.png") == 255).all()


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_of_several_pictures_the_first_is_read_and_that_is_said(tmp_path: Path, name: str) -> None:
    fill_folder(tmp_path)
    colours = ("red", "green", "blue")
    first, *rest = (Image.new("RGB", (20, 16), colour) for colour in colours)
    first.save(tmp_path / "cat" / name, save_all=True, append_images=rest)
    data, problems = check(tmp_path)
    assert data is not None and named(problems, "several_pictures").where == (f"cat/{name}",)
    assert row(data, f"cat/{name}").mean((1, 2)) == pytest.approx([255, 0, 0], abs=3)
    (tmp_path / "cat" / name).unlink()
    first.save(tmp_path / "cat" / name)
    first.save(tmp_path / "cat" / "phone.jpg", format="MPO", save_all=True, append_images=rest[:1])
    assert "several_pictures" not in {p.name for p in check(tmp_path)[1]}  # its second is a preview


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    fill_folder(tmp_path)
    upright = np.zeros((16, 20, 3), np.uint8)
    upright[:8] = 255  # white above, black below
    image = Image.fromarray(upright)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    image.transpose(Image.Transpose.ROTATE_90).save(
        tmp_path / "cat" / "turned.jpg", exif=exif, quality=95
    )
    data = read(tmp_path)
    assert data.inputs.shape[2:] == (16, 20)  # its size counts upright too
    turned = row(data, "cat/turned.jpg").astype(int)
    assert np.abs(turned - upright.transpose(2, 0, 1)).max() < 40


def test_bad_files_are_listed_left_out_and_counted(tmp_path: Path) -> None:
    fill_folder(tmp_path)
    whole = tmp_path / "whole.jpg"
    picture(1).save(whole, quality=100)
    raw = whole.read_bytes()
    whole.unlink()
    (tmp_path / "cat" / "cut.jpg").write_bytes(raw[: len(raw) * 9 // 10])  # its header is whole
    (tmp_path / "cat" / "zero.jpg").write_bytes(b"")
    (tmp_path / "dog" / "words.png").write_text("not a picture")
    (tmp_path / "dog" / "notes.txt").write_text("a note")
    (tmp_path / "dog" / ".hidden").write_text("left by the system")
    picture(50).save(tmp_path / "dog" / "really-png.jpg", format="PNG")
    picture(51).save(tmp_path / "dog" / "suffixless", format="JPEG")
    data, problems = check(tmp_path)
    assert data is not None
    bad = named(problems, "unreadable_files")
    assert sorted(bad.where) == ["cat/cut.jpg", "cat/zero.jpg", "dog/words.png"]
    assert bad.severity == "warning"
    assert bad.message.startswith("3 image files that cannot be read were left out")
    assert "truncated" in bad.message
    assert "zero bytes" in bad.message
    assert "not an image" in bad.message
    assert named(problems, "not_images").where == ("dog/notes.txt",)
    misnamed = named(problems, "wrongly_named")
    assert misnamed.where == ("dog/really-png.jpg", "dog/suffixless")
    assert set(misnamed.where) <= set(data.keys.tolist())  # used all the same
    assert len(data) == 14
    # What was left out does not shift the others against their names.
    for name, seed in (("cat/5.png", 5), ("dog/0.png", 100), ("dog/5.png", 105)):
        np.testing.assert_array_equal(row(data, name), np.asarray(picture(seed)).transpose(2, 0, 1))
    assert not set(bad.where) & set(data.keys.tolist())


def test_class_left_with_one_image_after_leaving_out_is_refused(tmp_path: Path) -> None:
    fill_folder(tmp_path)
    (tmp_path / "eel").mkdir()
    picture(3).save(tmp_path / "eel" / "only.png")
    (tmp_path / "eel" / "zero.png").write_bytes(b"")
    with pytest.raises(BadData, match="eel") as error:
        read(tmp_path)
    lone = named(error.value.problems, "single_example_class")
    assert lone.where == ("eel", "eel/only.png")
    assert error.value.exit_code == 2


def test_one_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="one class, cat") as error:
        read(fill_folder(tmp_path, ("cat",)))
    assert named(error.value.problems, "one_class").where == ("cat",)


def test_empty_folder_and_folder_without_class_folders(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"is empty.*folder a class"):
        read(tmp_path)
    picture(0).save(tmp_path / "loose.png")
    with pytest.raises(BadData, match="no class folders") as error:
        read(tmp_path)
    assert named(error.value.problems, "images_without_class").severity == "error"
    (tmp_path / "empty").mkdir()
    (tmp_path / "loose.png").unlink()
    data, problems = check(tmp_path)
    assert data is None
    assert named(problems, "no_images").severity == "error"
    assert named(problems, "empty_class").where == ("empty",)


def test_parts_are_the_sources_own_split(tmp_path: Path) -> None:
    for part, each in (("train", 8), ("val", 3), ("test", 4)):
        fill_folder(tmp_path / part, each=each)
    data, problems = check(tmp_path)
    assert data is not None
    assert {p: int((data.part == p).sum()) for p in set(data.part.tolist())} == {
        "train": 16,
        "validation": 6,
        "test": 8,
    }
    assert data.keys[0].count("/") == 2
    assert named(problems, "own_split").severity == "note"
    # The same files in every part: the copies across the test part are named, both of each.
    crossing = named(problems, "duplicate_across_parts")
    assert {"train/cat/0.png", "test/cat/0.png"} <= set(crossing.where)


def test_labels_that_differ_between_parts_are_refused(tmp_path: Path) -> None:
    fill_folder(tmp_path / "train", ("cat", "dog"))
    fill_folder(tmp_path / "test", ("cat", "Dog"), each=3)
    with pytest.raises(BadData, match="only in test: Dog; only in train: dog") as error:
        read(tmp_path)
    assert named(error.value.problems, "labels_differ").where == ("Dog", "dog")


def test_duplicates_name_both_and_conflicts_are_told_apart(tmp_path: Path) -> None:
    fill_folder(tmp_path)
    picture(0).save(tmp_path / "cat" / "copy.png")
    picture(1).save(tmp_path / "dog" / "other.png")
    problems = check(tmp_path)[1]
    assert set(named(problems, "duplicate_examples").where) == {"cat/0.png", "cat/copy.png"}
    assert set(named(problems, "conflicting_labels").where) == {"cat/1.png", "dog/other.png"}


def test_blank_images_are_named(tmp_path: Path) -> None:
    fill_folder(tmp_path)
    Image.new("RGB", (20, 16), "red").save(tmp_path / "cat" / "red.png")
    assert named(check(tmp_path)[1], "blank_image").where == ("cat/red.png",)


def test_inputs_for_a_model_that_exists(tmp_path: Path) -> None:
    data = read(fill_folder(tmp_path / "data"))
    (tmp_path / "new").mkdir()
    picture(100, (60, 48)).save(tmp_path / "new" / "a.jpg")
    (tmp_path / "new" / "zero.png").write_bytes(b"")
    found = read_inputs(tmp_path / "new", data.spec)
    assert found.inputs.shape == (1, 3, 16, 20)
    assert found.keys == [(tmp_path / "new" / "a.jpg").as_posix()]
    assert found.problems[0].where == ((tmp_path / "new" / "zero.png").as_posix(),)
    one = read_inputs(tmp_path / "data" / "cat" / "0.png", data.spec)
    np.testing.assert_array_equal(one.inputs[0], data.inputs[0])
    with pytest.raises(BadData, match="reads images"):
        read_inputs(_csv(tmp_path), data.spec)
    with pytest.raises(BadData, match="There is no file"):
        read_inputs(tmp_path / "gone.png", data.spec)


def test_evaluation_data_takes_classes_and_size_from_the_model(tmp_path: Path) -> None:
    data = read(fill_folder(tmp_path / "a"))
    fill_folder(tmp_path / "b", ("dog",), each=1)
    other = read(tmp_path / "b", like=data.spec)
    assert other.spec.classes == ("cat", "dog")
    assert other.targets.tolist() == [1]
    fill_folder(tmp_path / "c", ("dogg",))
    with pytest.raises(BadData, match="Did you mean dog"):
        read(tmp_path / "c", like=data.spec)


def _csv(folder: Path) -> Path:
    path = folder / "t.csv"
    path.write_text("a,b\n1,2\n")
    return path


def test_caltech(shared: Path, tmp_path: Path) -> None:
    with tarfile.open(shared / "caltech25" / "caltech25.tar") as tar:
        tar.extractall(tmp_path, filter="data")
    data, problems = check(tmp_path)
    assert data is not None
    assert data.inputs.shape == (1847, 3, 64, 64)
    assert len(data.spec.classes) == 25
    assert min(data.spec.class_counts), max(data.spec.class_counts) == (31, 239)
    assert not [p for p in problems if p.severity == "error"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_utf8_are_written_out(tmp_path: Path) -> None:
    fill_folder(tmp_path)
    (tmp_path / "cat" / "0.png").rename(tmp_path / "cat" / os.fsdecode(b"\xff.png"))
    data = read(tmp_path)
    assert "cat/\\xff.png" in data.keys
    pl.Series(data.keys.tolist())  # goes into a table of predictions
