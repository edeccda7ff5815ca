"""Data sets of Hugging Face's `datasets`: with the package where it is there, and always with a double."""

import importlib
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from data_problems import named
from PIL import Image

import fitwell as fw
from fitwell.data import BadData, check, read
from fitwell.data.inputs import read_inputs

CLASSES = ["dark", "bright", "never seen"]


@pytest.fixture(params=["hugging_face_double", "datasets"])
def hf(request: pytest.FixtureRequest) -> Any:
    """The package, or what stands in for it; see there which of its properties are copied."""
    if request.param == "datasets":
        return pytest.importorskip(
            "datasets", reason="needs the package datasets", exc_type=ImportError
        )
    return importlib.import_module(request.param)


def pixels(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """([image, height, width, 3], [image] class): dark and bright ones in turn."""
    labels = np.arange(n) % 2
    noise = np.random.default_rng(seed).integers(0, 100, (n, 12, 16, 3))
    return (noise + 120 * labels[:, None, None, None]).astype(np.uint8), labels


def pictures(hf: Any, n: int, seed: int = 0, **more: Any) -> Any:
    array, labels = pixels(n, seed)
    columns = {"image": [Image.fromarray(a) for a in array], "label": labels.tolist()}
    features = {"image": hf.Image(), "label": hf.ClassLabel(names=CLASSES)}
    for name, (feature, values) in more.items():
        columns[name], features[name] = values, feature
    return hf.Dataset.from_dict(columns, features=hf.Features(features))


def rows(hf: Any, n: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    size = rng.normal(size=n)
    columns = {
        "size": size.tolist(),
        "colour": rng.integers(0, 2, n).tolist(),
        "when": [datetime(2020, 1, 1 + int(d)) for d in rng.integers(0, 28, n)],
        "tags": [[1, 2]] * n,
        "price": (3 * size + rng.normal(size=n)).tolist(),
    }
    features = {
        "size": hf.Value("float64"),
        "colour": hf.ClassLabel(names=["red", "green"]),
        "when": hf.Value("timestamp[ms]"),
        "tags": hf.List(hf.Value("int64")),
        "price": hf.Value("float64"),
    }
    return hf.Dataset.from_dict(columns, features=hf.Features(features))


def test_images_are_those_that_were_put_in(hf: Any) -> None:
    array, labels = pixels(20)
    data = read(pictures(hf, 20))
    assert data.spec.kind == "images" and data.spec.classes == tuple(CLASSES)
    assert data.spec.class_counts == (10, 10, 0)  # a class without examples keeps its place
    np.testing.assert_array_equal(data.inputs, array.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(data.targets, labels)
    assert data.keys[3] == "row 3" and (data.part == "").all()


def test_a_dict_brings_its_own_split(hf: Any) -> None:
    parts = hf.DatasetDict(
        train=pictures(hf, 20), validation=pictures(hf, 6, 1), test=pictures(hf, 4, 2)
    )
    data = read(parts)
    assert data.part.tolist() == ["train"] * 20 + ["validation"] * 6 + ["test"] * 4
    assert [data.keys[i] for i in (3, 20, 29)] == ["train row 3", "validation row 0", "test row 3"]
    np.testing.assert_array_equal(data.inputs[26:], pixels(4, 2)[0].transpose(0, 3, 1, 2))
    named(data.problems, "own_split")


def test_a_dict_of_one_part_or_of_unknown_ones(hf: Any) -> None:
    assert (read(hf.DatasetDict(train=pictures(hf, 20))).part == "").all()
    assert read(hf.DatasetDict(all=pictures(hf, 20))).keys[3] == "all row 3"
    with pytest.raises(BadData, match="None of the parts a and b is called train"):
        read(hf.DatasetDict(a=pictures(hf, 20), b=pictures(hf, 20)))
    both = hf.DatasetDict(train=pictures(hf, 20), extra=pictures(hf, 8))
    data = read(both)
    assert len(data) == 20 and named(data.problems, "part_ignored").where == ("extra",)


def test_a_part_without_labels_is_left_out_and_said(hf: Any) -> None:
    test = pictures(hf, 4)
    test = test.remove_columns(["label"])
    hidden = (hf.ClassLabel(names=CLASSES), [-1] * 4)
    for without in (test, pictures(hf, 4).remove_columns(["label"]), None):
        if without is None:  # as competitions publish it
            array = [Image.fromarray(a) for a in pixels(4)[0]]
            features = hf.Features({"image": hf.Image(), "label": hidden[0]})
            without = hf.Dataset.from_dict({"image": array, "label": hidden[1]}, features=features)
        data = read(hf.DatasetDict(train=pictures(hf, 20), test=without))
        assert len(data) == 20
        found = named(data.problems, "part_without_target")
        assert found.where == ("test",) and "4 rows" in found.message


def test_a_missing_label_among_others_is_refused(hf: Any) -> None:
    array = [Image.fromarray(a) for a in pixels(6)[0]]
    features = hf.Features({"image": hf.Image(), "label": hf.ClassLabel(names=CLASSES)})
    data = hf.Dataset.from_dict({"image": array, "label": [0, 1, -1, 1, 0, 1]}, features=features)
    with pytest.raises(BadData, match="row 2") as error:
        read(data)
    assert error.value.problems[0].name == "missing_target"


def test_images_that_are_missing_or_broken_are_left_out_and_listed(hf: Any) -> None:
    array, labels = pixels(20)
    images: list[Any] = [Image.fromarray(a) for a in array]
    images[2], images[5] = None, {"bytes": b"no picture", "path": None}
    features = hf.Features({"image": hf.Image(), "label": hf.ClassLabel(names=CLASSES)})
    data = read(
        hf.Dataset.from_dict({"image": images, "label": labels.tolist()}, features=features)
    )
    kept = np.delete(np.arange(20), [2, 5])
    np.testing.assert_array_equal(data.inputs, array[kept].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(data.targets, labels[kept])
    assert data.keys.tolist() == [f"row {i}" for i in kept]
    assert named(data.problems, "missing_image").where == ("row 2",)
    assert named(data.problems, "unreadable_files").where == ("row 5",)
    nothing = hf.Dataset.from_dict({"image": [None] * 9, "label": [0] * 9}, features=features)
    with pytest.raises(BadData, match="None of the 9 rows"):
        read(nothing)


def test_images_stored_as_files(hf: Any, tmp_path: Path) -> None:
    array, labels = pixels(8)
    cells = []
    for i, each in enumerate(array):
        Image.fromarray(each).save(tmp_path / f"{i}.png")
        cells.append({"bytes": None, "path": str(tmp_path / f"{i}.png")})
    (tmp_path / "7.png").unlink()
    features = hf.Features({"image": hf.Image(), "label": hf.ClassLabel(names=CLASSES)})
    data = read(hf.Dataset.from_dict({"image": cells, "label": labels.tolist()}, features=features))
    np.testing.assert_array_equal(data.inputs, array[:7].transpose(0, 3, 1, 2))
    assert named(data.problems, "unreadable_files").where == ("row 7",)


def test_what_cannot_be_told_is_refused_with_the_choices(hf: Any) -> None:
    other = (hf.ClassLabel(names=["a", "b"]), [0, 1] * 10)
    twice = pictures(hf, 20, fine=other)
    read(twice)  # "label" is a name that says it
    array = [Image.fromarray(a) for a in pixels(20)[0]]
    two = hf.Features({"image": hf.Image(), "fine": other[0], "coarse": other[0]})
    unclear = hf.Dataset.from_dict(
        {"image": array, "fine": other[1], "coarse": other[1]}, features=two
    )
    with pytest.raises(BadData, match=r"fine and coarse .*data\.target=fine") as error:
        read(unclear)
    assert error.value.setting == "data.target"
    assert read(unclear, {"target": "coarse"}).spec.classes == ("a", "b")
    many = pictures(hf, 20, mask=(hf.Image(), array))
    with pytest.raises(BadData, match="2 columns hold images"):
        read(many)
    assert len(read(many.remove_columns(["mask"]))) == 20
    with pytest.raises(BadData, match="no column that says what they show"):
        read(pictures(hf, 20).remove_columns(["label"]))
    with pytest.raises(BadData, match="of type List"):
        read(rows(hf, 30), {"target": "tags"})
    with pytest.raises(BadData, match=r"data\.time = label: what is named is the target"):
        read(pictures(hf, 20), {"time": "label"})
    with pytest.raises(BadData, match="no rows"):
        read(pictures(hf, 0))


def test_a_stream_is_refused_with_the_next_step(hf: Any) -> None:
    stream = pictures(hf, 20).to_iterable_dataset()
    for source in (stream, {"train": stream}):
        data, problems = check(source)
        assert data is None and named(problems, "streamed")
        assert "streaming=True" in problems[0].mend


def test_transforms_are_not_applied_and_that_is_said(hf: Any) -> None:
    source = pictures(hf, 20).with_transform(lambda batch: 1 / 0)
    data = read(source)
    np.testing.assert_array_equal(data.inputs, read(pictures(hf, 20)).inputs)
    named(data.problems, "transform_ignored")


def test_groups_of_images_stay_together(hf: Any) -> None:
    patients = (hf.Value("string"), [f"p{i // 4}" for i in range(40)])
    data = read(pictures(hf, 40, patient=patients), {"group": "patient"})
    assert data.groups is not None and data.groups.tolist() == sorted(data.groups.tolist())
    assert len(set(data.groups.tolist())) == 10
    plain = read(pictures(hf, 40, patient=patients))
    assert named(plain.problems, "columns_ignored").where == ("patient",)


@pytest.mark.parametrize("kind", ["float64", "int64", "string"])
def test_images_with_numbers_or_text_to_predict(hf: Any, kind: str) -> None:
    values: list[Any] = {
        "float64": [i / 7 for i in range(40)],
        "int64": [i % 4 for i in range(40)],
        "string": ["cat", "dog"] * 20,
    }[kind]
    source = pictures(hf, 40, shown=(hf.Value(kind), values)).remove_columns(["label"])
    data = read(source)
    assert data.spec.task == ("regression" if kind == "float64" else "classification")
    said = [data.spec.classes[t] for t in data.targets] if kind != "float64" else data.targets
    expected = np.array(values, np.float32) if kind == "float64" else [str(v) for v in values]
    np.testing.assert_array_equal(said, expected)


def test_anything_else_is_a_table_as_polars_has_it(hf: Any) -> None:
    source = rows(hf, 60)
    data = read(source, {"target": "price"})
    frame = source.select_columns(["size", "colour", "when", "price"]).to_polars()
    colours = pl.Series("colour", np.array(["red", "green"])[frame["colour"].to_numpy()])
    twin = read(frame.with_columns(colours), {"target": "price"})
    assert data.spec == twin.spec and data.fingerprint == twin.fingerprint
    assert [c.kind for c in data.spec.columns] == ["numeric", "category", "date"]
    assert named(data.problems, "columns_ignored").where == ("tags",)
    assert data.keys.tolist() == twin.keys.tolist()


def test_a_table_of_a_dict_has_its_parts(hf: Any) -> None:
    parts = hf.DatasetDict(train=rows(hf, 60), test=rows(hf, 20, 1))
    data = read(parts, {"target": "price"})
    assert data.keys[62] == "test row 2"
    assert (data.part == "test").tolist() == [False] * 60 + [True] * 20
    one = read(rows(hf, 20, 1), {"target": "price"})
    np.testing.assert_array_equal(data.inputs[60:], one.inputs)
    odd = hf.DatasetDict(train=rows(hf, 60), test=rows(hf, 20).remove_columns(["size"]))
    with pytest.raises(BadData, match="size in one only"):
        read(odd, {"target": "price"})


def test_the_classes_of_a_table_are_guessed_and_named(hf: Any) -> None:
    data = read(rows(hf, 60))
    assert data.spec.task == "classification" and set(data.spec.classes) == {"red", "green"}
    assert named(data.problems, "target_guessed").where == ("colour",)
    names = [str(i) for i in range(300)]  # which are no numbers, since they are called classes
    columns = {"x": [i / 7 for i in range(900)], "y": [i % 300 for i in range(900)]}
    features = hf.Features({"x": hf.Value("float64"), "y": hf.ClassLabel(names=names)})
    numbered = read(hf.Dataset.from_dict(columns, features=features))
    assert numbered.spec.task == "classification" and len(numbered.spec.classes) == 300


def test_training_judging_and_predicting(hf: Any, tmp_path: Path) -> None:
    parts = hf.DatasetDict(train=pictures(hf, 60), test=pictures(hf, 20, 1))
    run = fw.fit(parts, model="linear", settings={"train.epochs": 8}, out=tmp_path / "run")
    assert run.scores["test"]["accuracy"] == 1.0
    other = pictures(hf, 12, 5)
    assert fw.evaluate(run, other)["scores"]["accuracy"] == 1.0
    bare = other.remove_columns(["label"])
    said = fw.predict(run, hf.DatasetDict(new=bare))
    assert [s["prediction"] for s in said] == ["dark", "bright"] * 6
    assert said[7]["input"] == "new row 7"
    with pytest.raises(BadData, match="no column of images"):
        fw.predict(run, rows(hf, 20))
    assert fw.check(parts).usable


def test_inputs_of_a_table_without_its_target(hf: Any) -> None:
    data = read(rows(hf, 60), {"target": "price"})
    found = read_inputs(rows(hf, 9, 3).remove_columns(["price", "tags"]), data.spec)
    again = read(rows(hf, 9, 3), {"target": "price"}, like=data.spec)
    np.testing.assert_array_equal(found.inputs, again.inputs)
    assert found.keys == again.keys.tolist()
    with pytest.raises(BadData, match="no column size"):
        read_inputs(rows(hf, 9).remove_columns(["size"]), data.spec)


def test_texts_with_their_parts_and_classes(hf: Any) -> None:
    """As most published sets of texts are: a column of texts, one of classes, train and test."""

    def part(n: int, seed: int) -> Any:
        rng = np.random.default_rng(seed)
        texts = [" ".join(rng.choice(list("abcdefghij"), 12)) + f" {seed} {i}" for i in range(n)]
        features = {"text": hf.Value("string"), "label": hf.ClassLabel(names=["neg", "pos"])}
        columns = {"text": texts, "label": [i % 2 for i in range(n)]}
        return hf.Dataset.from_dict(columns, features=hf.Features(features))

    parts = hf.DatasetDict(train=part(40, 0), test=part(10, 1))
    data = read(parts)
    assert data.spec.kind == "text" and data.spec.classes == ("neg", "pos")
    assert (data.part == "train").sum() == 40 and (data.part == "test").sum() == 10
    assert data.inputs[0].endswith(" 0 0") and data.inputs[40].endswith(" 1 0")
    assert read_inputs(part(5, 2), data.spec).inputs.shape == (5,)
