"""Arrays, tensors, .npz and Datasets from Python."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from fitwell.data import BadData, check, read
from fitwell.data.inputs import read_inputs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = np.arange(60) % 3
IMAGES = RNG.integers(0, 256, (60, 5, 6, 3)).astype(np.uint8)


def test_arrays_tensors_and_lists_are_the_same() -> None:
    data = read((X, Y))
    assert data.name == "arrays"
    assert data.inputs.dtype == np.float32
    assert data.targets.dtype == np.int64
    assert data.keys[5] == "row 5"
    for other in ((torch.tensor(X), torch.tensor(Y)), (X.tolist(), Y.tolist())):
        assert read(other).fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.array(["b", "a", "c"] * 20), ("a", "b", "c")),
        (np.array(["b", "a", "c"] * 20, dtype=object), ("a", "b", "c")),
        (np.array([False, True, True] * 20), ("false", "true")),
        (np.array([3.0, -1.0, 7.0] * 20), ("-1", "3", "7")),
        (np.array([10, 9, 2] * 20), ("2", "9", "10")),
        ((Y % 3)[:, None], ("0", "1", "2")),
        (np.eye(3)[Y], ("0", "1", "2")),
    ],
)
def test_kinds_of_class_labels(y: np.ndarray, classes: tuple[str, ...]) -> None:
    data = read((X, y))
    assert data.spec.classes == classes
    assert data.spec.class_counts == tuple(np.bincount(data.targets))


def test_regression_targets() -> None:
    data = read((X, X[:, 0]))
    assert data.spec.task == "regression"
    assert data.spec.num_outputs == 1
    np.testing.assert_allclose(data.targets, X[:, 0].astype(np.float32))


def test_layouts_of_images() -> None:
    last, first = read((IMAGES, Y)), read((IMAGES.transpose(0, 3, 1, 2), Y))
    np.testing.assert_array_equal(last.inputs, first.inputs)
    assert last.spec.input_shape == (3, 5, 6)
    assert last.inputs.flags.c_contiguous
    assert "channels_moved" in {p.name for p in last.problems}
    grey = read((IMAGES[..., 0], Y))
    assert grey.spec.input_shape == (1, 5, 6)
    assert grey.inputs.dtype == np.uint8
    wide = read((IMAGES.astype(np.int64), Y))
    assert wide.inputs.dtype == np.uint8
    real = read((IMAGES / 255, Y))
    assert real.inputs.dtype == np.float32
    assert read((IMAGES, Y), {"image_size": 4}).spec.input_shape == (3, 4, 4)
    many = read((IMAGES[:, None].repeat(1, 1)[:, 0], np.arange(60) // 2))
    assert len(many.spec.classes) == 30  # whole numbers beside images are labels


@pytest.mark.parametrize(
    ("x", "y", "name"),
    [
        (X[:, 0], Y, "wrong_shape"),
        (X[:50], Y, "lengths_differ"),
        (np.where(X > 2, np.nan, X), Y, "nonfinite_inputs"),
        (X * 1e300, Y, "nonfinite_inputs"),
        (X, np.where(Y == 2, np.nan, 1.5), "missing_target"),
        (X, np.array(["a", None, "b"] * 20, dtype=object), "missing_target"),
        (X, np.zeros((60, 2, 2)), "wrong_target_shape"),
        (X, np.array([["a", "b"]] * 60), "target_not_numeric"),
        (X[:1], Y[:1], "too_few_examples"),
        (X[:0], Y[:0], "empty"),
        (X, np.zeros(60), "one_class"),
        (X, np.array(["a"] * 59 + ["b"]), "single_example_class"),
        (X + 1j, Y, "complex"),
        (np.full((60, 2), "text"), Y, "not_numeric"),
        ([[1, 2], [3]], [0, 1], "ragged"),
        (np.ones((60, 4)), Y, "constant_inputs"),
    ],
)
def test_arrays_that_cannot_be_used(x: object, y: object, name: str) -> None:
    with pytest.raises(BadData) as error:
        read((x, y))
    first = error.value.problems[0]
    assert first.name == name
    assert first.where
    assert first.mend
    assert error.value.exit_code == 2
    assert check((x, y))[1][0].name == name


def test_rows_with_nan_are_named() -> None:
    x = X.copy()
    x[[3, 8], 1] = np.nan
    with pytest.raises(BadData, match="2 of 60") as error:
        read((x, Y))
    assert error.value.problems[0].where == ("row 3", "row 8")


def test_duplicates_imbalance_and_few_examples_are_said() -> None:
    x = X.copy()
    x[9] = x[4]
    x[12] = x[6]
    y = np.array(["a"] * 50 + ["b"] * 8 + ["c"] * 2)
    data, problems = check((x, y), {"folds": 5})
    assert data is not None
    found = {p.name: p for p in problems}
    assert found["duplicate_examples"].where == ("row 4", "row 9", "row 6", "row 12")
    assert found["class_imbalance"].where == ("a", "c")
    assert found["class_imbalance"].severity == "note"
    assert found["small_class"].where == ("b", "c")
    assert found["fewer_than_folds"].where == ("c",)
    assert "few_examples" in {p.name for p in check((x[:30], Y[:30]))[1]}
    assert [p.severity for p in problems] == sorted(
        (p.severity for p in problems), key=["error", "warning", "note"].index
    )
    assert set(problems[0].to_json()) == {"name", "severity", "where", "message", "mend"}


def test_npz(tmp_path: Path) -> None:
    reference = read((X, Y))
    for names in (("X", "y"), ("x", "y"), ("data", "labels"), ("arr_0", "arr_1")):
        path = tmp_path / "mine.npz"
        arrays: dict[str, Any] = dict(zip(names, (X, Y), strict=True))
        np.savez(path, **arrays)
        data = read(path)
        assert data.name == "mine"
        assert data.fingerprint == reference.fingerprint
        assert set(data.part.tolist()) == {""}
    np.savez(path, X=X, age=X[:, 0], y=Y, who=np.arange(len(Y)) // 3)
    assert read(path, {"target": "age"}).spec.task == "regression"
    assert read(path, {"group": "who"}).groups is not None
    with pytest.raises(BadData, match="Did you mean age"):
        read(path, {"target": "ages"})
    found = read_inputs(path, reference.spec)
    np.testing.assert_array_equal(found.inputs, reference.inputs)


def test_npz_with_parts(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=X[:40], y_train=Y[:40], x_test=X[40:], y_test=Y[40:])
    data = read(path)
    assert data.part.tolist() == ["train"] * 40 + ["test"] * 20
    assert data.keys[-1] == "test row 19"
    np.savez(path, train_images=IMAGES[:40], train_labels=Y[:40, None], test_images=IMAGES[40:],
             test_labels=Y[40:, None])  # fmt: skip
    assert read(path).inputs.shape == (60, 3, 5, 6)
    np.savez(path, x_train=X[:40], y_train=Y[:40], x_test=X[40:], y_test=Y[40:] % 2)
    with pytest.raises(BadData, match="only in train: 2"):
        read(path)


@pytest.mark.parametrize("where", ["X", "y"])
def test_nan_in_npz_is_refused_by_row(tmp_path: Path, where: str) -> None:
    arrays: dict[str, Any] = {"X": X.copy(), "y": X[:, 0].copy()}
    arrays[where][7] = np.nan
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(BadData, match="NaN") as error:
        read(tmp_path / "bad.npz")
    assert error.value.problems[0].where == ("row 7",)


def test_npz_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, X=X, y=Y)
    raw = path.read_bytes()
    for content in (b"", b"rubbish", raw[: len(raw) // 2]):
        path.write_bytes(content)
        with pytest.raises(BadData, match=r"bad\.npz"):
            read(path)
    np.savez(path, X=X, y=np.array([{}] * 60, dtype=object))
    with pytest.raises(BadData, match="could run code"):
        read(path)
    np.savez(path, first=X, second=Y)
    with pytest.raises(BadData, match=r"holds first, second; .*np\.savez"):
        read(path)


class Pairs(Dataset):
    """A map-style Dataset of whatever it is given."""

    def __init__(self, pairs: list, classes: list[str] | None = None) -> None:
        self.pairs = pairs
        if classes:
            self.classes = classes

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> object:
        return self.pairs[index]


def test_torch_datasets() -> None:
    reference = read((X, Y))
    tensors = TensorDataset(torch.tensor(X), torch.tensor(Y))
    data = read(tensors)
    assert data.name == "tensordataset"
    assert data.fingerprint == reference.fingerprint
    pairs = Pairs(list(zip(torch.tensor(X), Y.tolist(), strict=True)), ["u", "v", "w"])
    data = read(pairs)
    assert data.spec.classes == ("u", "v", "w")
    np.testing.assert_array_equal(data.inputs, reference.inputs)
    part = torch.utils.data.Subset(tensors, range(0, 60, 2))
    assert len(read(part)) == 30


def test_datasets_of_pictures() -> None:
    pairs = [(Image.fromarray(x), int(t)) for x, t in zip(IMAGES, Y, strict=True)]
    data = read(Pairs(pairs))
    assert data.spec.input_shape == (3, 8, 8)  # smaller than 8: brought to 8
    assert data.inputs.dtype == np.uint8
    assert read(Pairs(pairs), {"image_size": 12}).spec.input_shape == (3, 12, 12)


def test_datasets_that_cannot_be_used() -> None:
    with pytest.raises(BadData, match="is empty"):
        read(Pairs([]))
    with pytest.raises(BadData, match="not a pair"):
        read(Pairs([1, 2, 3]))
    with pytest.raises(BadData, match=r"row 0 has shape \[2\], row 1 \[3\]"):
        read(Pairs([(np.ones(2), 0), (np.ones(3), 1)]))

    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self) -> Iterator[object]:
            return iter(())

    with pytest.raises(BadData, match=r"type Endless|no length"):
        read(Endless())
