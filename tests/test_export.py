"""Export to ONNX: what a file says is what `predict` says, in onnxruntime and without fitwell."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from made_boxes import scenes, write_voc
from sounds import tones

import fitwell as fw
from fitwell.cli.main import run as command_line
from fitwell.data import preprocess, read
from fitwell.data.letterbox import letterbox
from fitwell.errors import FolderError, SettingError
from fitwell.export.boxes import Suppressed
from fitwell.export.checking import _unmatched
from fitwell.export.inputs import Columns, Series, Waves, as_fed
from fitwell.nn.recurrent import Recurrent
from fitwell.spec import Spec
from fitwell.tasks import task_of

onnxruntime = pytest.importorskip("onnxruntime", reason="export is an extra: fitwell[export]")

FEW = {"train.epochs": 1, "train.batch_size": 8, "train.precision": "float32"}
CLOSE = {"rtol": 0.0, "atol": 1e-3}


def run_file(path: Path, fed: np.ndarray) -> list[Any]:
    session: Any = onnxruntime.InferenceSession(path.read_bytes())
    (entry,) = session.get_inputs()
    return session.run(None, {entry.name: fed})


def facts(path: Path) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(path.read_bytes())
    return json.loads(session.get_modelmeta().custom_metadata_map["fitwell"])


# What becomes of inputs, against the numpy that training uses.


def mixed(count: int = 60) -> pl.DataFrame:
    """A table of all kinds of columns, each with missing cells."""
    rng = np.random.default_rng(0)
    day = [datetime(2023, 3, 1, 7) + timedelta(hours=37 * i) for i in range(count)]
    frame = pl.DataFrame(
        {
            "size": rng.normal(50, 9, count),
            "town": rng.choice(["here", "there", "far"], count),
            "built": day,
            "stamp": 1.7e9 + rng.integers(0, 1000, count).astype(float),
            "colour": rng.choice(["red", "blue"], count),
            "sort": rng.choice(["one", "two"], count),
        }
    )
    gone = rng.random((count, 5)) < 0.1
    for i, name in enumerate(frame.columns[:5]):
        frame = frame.with_columns(
            pl.Series(
                name, [None if g else v for g, v in zip(gone[:, i], frame[name], strict=True)]
            )
        )
    return frame


@pytest.mark.parametrize("scaling", ["standard", "robust"])
def test_columns_become_what_training_sees(scaling: Any) -> None:
    data = read(mixed(), {"target": "sort"})
    assert {column.kind for column in data.spec.columns} == {"numeric", "category", "date"}
    rows = np.arange(10)
    prepared = preprocess.fit(data, rows, scaling=scaling)
    fed = torch.from_numpy(as_fed(data.inputs))
    found = Columns(prepared)(fed).numpy()
    np.testing.assert_allclose(found, prepared.inputs(data.inputs), rtol=0, atol=1e-6)


def test_a_category_that_no_training_row_had_counts_as_missing() -> None:
    data = read(
        pl.DataFrame({"c": ["a", "b", "a", "b"], "y": [1.0, 2.0, 1.5, 2.5]}), {"target": "y"}
    )
    prepared = preprocess.fit(data, np.array([0, 2]))
    found = Columns(prepared)(torch.from_numpy(as_fed(data.inputs))).tolist()
    assert found == [[1, 0], [0, 0], [1, 0], [0, 0]]


def test_series_become_what_training_sees() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(5, 2, (40, 3, 17)).astype(np.float32)
    x[rng.random(x.shape) < 0.3] = np.nan
    for i in range(20):
        x[i, :, 1 + i % 17 :] = np.nan
    x[20, 1] = np.nan  # a channel without any value
    data = read((x, np.arange(40) % 2), {"kind": "series"})
    prepared = preprocess.fit(data, np.arange(len(data.inputs)))
    raw = data.inputs.copy()
    raw[21] = np.nan  # a series without any
    raw[22, :, -1] = prepared.mean  # the last step is all 0, and still no end
    found = Series(prepared)(torch.from_numpy(raw)).numpy()
    expected = prepared.inputs(raw)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(found != 0, expected != 0)


def test_waves_become_what_training_sees(tmp_path: Path) -> None:
    data = read(tones(tmp_path / "tones", 4), {})
    prepared = preprocess.fit(data, np.arange(len(data.inputs)))
    found = Waves(prepared)(torch.from_numpy(as_fed(data.inputs))).numpy()
    np.testing.assert_allclose(found, prepared.inputs(data.inputs), **CLOSE)


# What becomes of outputs.


def told(places: int = 400, classes: int = 4, seed: int = 0, low: float = -3.0) -> torch.Tensor:
    """What a detector may say of three pictures: the second has nothing, the third is surer."""
    rng = np.random.default_rng(seed)
    out = np.empty((3, places, 7 + classes), np.float32)
    out[..., :2], out[..., 2] = 8 * rng.integers(0, 12, (places, 2)), 8
    out[..., 3:7] = rng.gamma(2, 1, (3, places, 4))
    out[..., 7:] = rng.normal(low, 2, (3, places, classes))
    out[1, :, 7:] = -9
    out[2, :, 7:] += 2
    return torch.from_numpy(out)


@pytest.mark.parametrize("places", [3, 60, 400])
def test_boxes_are_those_of_predict(places: int) -> None:
    raw = told(places)
    spec = Spec("boxes", "detection", (3, 96, 96), tuple("abcd"))
    expected = task_of(spec).decode(raw.numpy(), None, lambda numbers: numbers).prediction
    found, corners, scores = Suppressed()(raw)
    assert corners.shape == (3, places, 4) and scores.shape == (3, places, 4)
    counts = (~np.isnan(expected[..., 0])).sum(1)
    assert counts[1] == 0 < counts[0]
    for said, wanted, count in zip(found.numpy(), expected, counts, strict=True):
        np.testing.assert_allclose(said[:count], wanted[:count], atol=1e-5)
        assert (said[count:] == [-1, 0, 0, 0, 0, 0]).all()


def test_boxes_that_differ_are_seen() -> None:
    one = np.array([[0.0, 1, 1, 9, 9, 0.9], [1, 1, 1, 9, 9, 0.5], [1, 40, 40, 60, 60, 0.4]])
    assert _unmatched(one, one[::-1]) == 0
    assert _unmatched(one[:2], one) == np.inf
    assert _unmatched(one + np.array([0, 0.5, 0, 0, 0, 0]), one) == 0.5
    assert _unmatched(one + np.array([1, 0, 0, 0, 0, 0]), one) > 1
    last = one + np.array([[0], [0], [1.0]]) * [0, 5, 0, 0, 0, 0]
    assert _unmatched(last, one) == 0  # as sure as another that the list had no room for


def test_both_ways_without_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = Recurrent("lstm", 3, 5, rates=[0.0, 0.0], both=True)
    x, lengths = torch.randn(4, 7, 3), torch.tensor([7, 3, 1, 5])
    packed, _ = layers(x, lengths)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    moved, _ = layers(x, lengths)
    for one, other, length in zip(moved, packed, lengths.tolist(), strict=True):
        torch.testing.assert_close(one[:length], other[:length])


# Whole files, in onnxruntime.


def images(count: int = 40, channels: int = 3, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, channels, side, side)).astype(np.uint8), np.arange(
        count
    ) % 3


def short_series(count: int = 40, horizon: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (count, 2, 14)).astype(np.float32)
    for i in range(count):
        x[i, :, 3 + i % 12 :] = np.nan
    return x, np.arange(count) % 2


def exported(source: Any, tmp_path: Path, model: str, **settings: Any) -> tuple[Any, Path]:
    dotted = {name.replace("__", "."): value for name, value in settings.items()}
    run = fw.fit(source, model=model, settings={**FEW, **dotted}, out=tmp_path / "run")
    out = tmp_path / "model.onnx"
    said = fw.export(run, out)
    assert said["checked"]["difference"] < 1e-3 and said["bytes"] == out.stat().st_size
    return run, out


def same_as_predict(run: Any, out: Path, inputs: Any, fed: np.ndarray) -> None:
    """Classes and probabilities, or numbers, of a batch and of one by itself."""
    rows = fw.predict(run, inputs)
    (said,) = run_file(out, fed)
    (alone,) = run_file(out, fed[:1])
    np.testing.assert_allclose(alone, said[:1], **CLOSE)
    classes = facts(out).get("classes")
    for row, own in zip(rows, said, strict=True):
        if classes is None:
            assert np.ravel(own) == pytest.approx([row["prediction"]], rel=1e-4)
        else:
            assert own[classes.index(row["prediction"])] == pytest.approx(
                row["probability"], abs=1e-3
            )
            assert own.sum() == pytest.approx(1, abs=1e-5)


def test_a_table_with_categories_and_dates(tmp_path: Path) -> None:
    frame = mixed(80)
    run, out = exported(frame, tmp_path, "mlp", data__target="sort", model__width=16)
    known = facts(out)
    columns = known["columns"]
    assert [c["name"] for c in columns] == [c for c in frame.columns if c != "sort"]
    cells = []
    for column in columns:
        values = frame[column["name"]].to_list()
        if column["kind"] == "category":
            cells.append([np.nan if v is None else column["categories"].index(v) for v in values])
        elif column["kind"] == "date":
            days = [None if v is None else v - datetime(2000, 1, 1) for v in values]
            cells.append([np.nan if d is None else d / timedelta(days=1) for d in days])
        else:
            cells.append([np.nan if v is None else v for v in values])
    fed = np.array(cells).T.astype(known["inputs"][0]["type"])
    same_as_predict(run, out, frame.drop("sort"), fed)


IMAGES = {
    "convnet": {"model__width": 4},
    "resnet": {"model__depth": 18, "model__width": 4},
    "vit": {"model__width": 16, "model__depth": 1},
    "torchvision:resnet18": {},
    "densenet": {"model__growth": 4},
    "googlenet": {"model__width": 16},
}


@pytest.mark.slow
@pytest.mark.parametrize("model", IMAGES)
def test_images(model: str, tmp_path: Path) -> None:
    x, y = images()
    run, out = exported((x, y), tmp_path, model, **IMAGES[model])
    same_as_predict(run, out, x[:6], x[:6].astype(np.float32))


def test_one_logit_a_number_and_a_cut_image(tmp_path: Path) -> None:
    """Raw pixels, also where the model sees the centre of what is kept."""
    x, y = images(side=12, channels=1)
    loss = {"loss__name": "binary_cross_entropy"}
    run, out = exported((x, y % 2), tmp_path / "two", "linear", **loss)
    same_as_predict(run, out, x[:5], x[:5].astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("fcn", {"model__width": 8}),
        ("resnet1d", {"model__width": 8, "model__depth": 2}),
        ("tcn", {"model__width": 8, "model__depth": 2}),
        ("transformer", {"model__width": 16, "model__depth": 1}),
        ("rnn", {"model__width": 8}),
        ("gru", {"model__width": 8, "model__pooling": "max", "model__depth": 2}),
        ("lstm", {"model__width": 8, "model__bidirectional": True}),
    ],
)
def test_series_of_several_lengths(model: str, settings: dict[str, Any], tmp_path: Path) -> None:
    x, y = short_series()
    run, out = exported((x, y), tmp_path, model, data__kind="series", **settings)
    same_as_predict(run, out, x[:8], x[:8])
