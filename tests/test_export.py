"""Export to ONNX: what a file says is what `predict` says, in onnxruntime and without fitwell."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from made_boxes import scenes, write_voc
from PIL import Image
from sounds import tones

import fitwell as fw
from fitwell.cli.main import run as command_line
from fitwell.data import preprocess, read
from fitwell.data.letterbox import letterbox
from fitwell.data.preprocess import Preprocess
from fitwell.data.words import words_of
from fitwell.errors import FolderError, SettingError
from fitwell.export import _notes
from fitwell.export.boxes import Suppressed, suppressed
from fitwell.export.checking import _unmatched
from fitwell.export.inputs import Columns, Series, Waves, as_fed, entry_of
from fitwell.export.outputs import exit_of
from fitwell.nn.recurrent import Recurrent
from fitwell.predict import decode
from fitwell.recipe import Recipe
from fitwell.spec import Spec
from fitwell.tasks import task_of
from fitwell.train import load_model

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
    fitted = preprocess.fit(data, np.arange(len(data.inputs)))
    prepared = replace(fitted, mean=(5.0, 4.0, 6.0))
    raw = data.inputs.copy()
    raw[21] = np.nan  # a series without any
    raw[22, :, -1] = prepared.mean  # the last step is all 0, and still no end
    found = Series(prepared)(torch.from_numpy(raw)).numpy()
    expected = prepared.inputs(raw)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal((found != 0).any(1), (expected != 0).any(1))
    assert (found[22, :, -1] != 0).any() and not (found[21] != 0).any()


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


@pytest.mark.parametrize(
    ("task", "outputs"), [("classification", 3), ("classification", 1), ("multilabel", 3)]
)
def test_chances_are_those_of_the_task(task: Any, outputs: int) -> None:
    spec = Spec("table", task, (4,), ("a", "b", "c")[: max(2, outputs)])
    raw = np.random.default_rng(0).normal(0, 4, (9, outputs)).astype(np.float32)
    wanted = task_of(spec).decode(raw, None, lambda numbers: numbers).probabilities
    found = exit_of(spec, Preprocess("table"), "").module(torch.from_numpy(raw))
    assert wanted is not None
    np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mean", [3.0, 5e6])
def test_numbers_keep_the_digits_that_restoring_keeps(mean: float) -> None:
    spec = Spec("table", "regression", (4,), targets=("a", "b"))
    prepared = Preprocess("table", target_mean=(mean, -2.0), target_scale=(0.5, 7.0))
    raw = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    found = exit_of(spec, prepared, "").module(torch.from_numpy(raw)).numpy()
    wanted = prepared.restore(raw)
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


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


def short_series(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
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


@pytest.mark.slow
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
def test_numbers_in_their_own_units(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype(np.float32)
    frame = pl.DataFrame(
        {**{f"x{i}": x[:, i] for i in range(4)}, "low": x[:, 0], "high": 1e5 * x[:, 1]}
    )
    run, out = exported(frame, tmp_path, "mlp", data__target="low,high", model__width=16)
    (said,) = run_file(out, x[:7])
    rows = fw.predict(run, frame[:7].drop("low", "high"))
    wanted = [[row["prediction"][name] for name in facts(out)["targets"]] for row in rows]
    np.testing.assert_allclose(said, wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("model", IMAGES)
def test_images(model: str, tmp_path: Path) -> None:
    x, y = images()
    run, out = exported((x, y), tmp_path, model, **IMAGES[model])
    same_as_predict(run, out, x[:6], x[:6].astype(np.float32))


def test_one_logit_for_two_classes(tmp_path: Path) -> None:
    x, y = images(side=12, channels=1)
    loss = {"loss__name": "binary_cross_entropy"}
    run, out = exported((x, y % 2), tmp_path, "linear", **loss)
    same_as_predict(run, out, x[:5], x[:5].astype(np.float32))


def test_what_is_cut_off_is_cut_off_inside() -> None:
    x, _ = images(side=12)
    spec = Spec("images", "classification", (3, 8, 10), ("a", "b"), stored=(12, 12))
    prepared = Preprocess("images", (100.0,) * 3, (50.0, 60.0, 70.0), seen=(8, 10), unit=255.0)
    way_in = entry_of(spec, prepared)
    fed, seen = way_in.draw(2, np.random.default_rng(0))
    assert fed.shape == (2, 3, 12, 12) and seen.shape == (2, 3, 8, 10)
    found = way_in.module(torch.from_numpy(as_fed(x))).numpy()
    np.testing.assert_allclose(found, prepared.inputs(x), rtol=0, atol=1e-5)


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "settings"),
    [("dlinear", {}), ("autoregressive", {"data__at_once": 2}), ("lstm", {"model__width": 8})],
)
def test_forecasts(model: str, settings: dict[str, Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    when = [datetime(2024, 1, 1) + timedelta(hours=i) for i in range(300)]
    wave = 100 + 9 * np.sin(np.arange(300) / 4) + rng.normal(0, 0.1, 300)
    frame = pl.DataFrame({"when": when, "wave": wave, "walk": rng.normal(size=300).cumsum()})
    asked = {"data__kind": "series", "data__look_back": 20, "data__horizon": 4, **settings}
    run, out = exported(frame, tmp_path, model, **asked)
    columns = facts(out)["columns"]
    past = frame[-20:].select(columns).to_numpy().T[None].astype(np.float32)
    (said,) = run_file(out, np.repeat(past, 3, 0))
    assert said.shape == (3, 4, 2)
    rows = fw.predict(run, frame)
    wanted = [[row["prediction"][name] for name in facts(out)["targets"]] for row in rows]
    np.testing.assert_allclose(said[2], wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["bag_of_words", "gru", "transformer"])
def test_texts(model: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = "good bad film plot was not very dull fine long".split()
    texts = [" ".join(rng.choice(words, rng.integers(2, 9))) for _ in range(60)]
    labels = ["yes" if "good" in text else "no" for text in texts]
    small = {"model__width": 16, "model__depth": 1}
    run, out = exported((texts, labels), tmp_path, model, **small)
    known = facts(out)
    asked = ["Good film", "not very unheard-of", "dull " * 20]
    fed = np.zeros((3, known["inputs"][0]["shape"][1]), np.int64)
    for row, text in zip(fed, asked, strict=True):
        for i, word in enumerate(words_of(text)[: len(row)]):
            row[i] = known["vocabulary"].index(word) + 2 if word in known["vocabulary"] else 1
    same_as_predict(run, out, asked, fed)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["lstm", "tcn", "transformer"])
def test_a_language_gives_the_logits_of_what_follows(model: str, tmp_path: Path) -> None:
    book = tmp_path / "book.txt"
    book.write_text("the cat sat on the mat and the dog sat on the cat.\n" * 40)
    settings = {"model__width": 16, "data__context": 12, "model__depth": 1}
    run, out = exported(book, tmp_path, model, **settings)
    known = facts(out)
    fed = np.zeros((1, 12), np.int64)
    prompt = "the cat"
    fed[0, 1 : 1 + len(prompt)] = [known["vocabulary"].index(c) + 2 for c in prompt]
    (logits,) = run_file(out, fed)
    likeliest = logits[0, len(prompt), 2 : 2 + len(known["vocabulary"])].argmax()
    text = fw.generate(run, prompt, length=1, temperature=0)
    assert text == known["vocabulary"][likeliest]


@pytest.mark.slow
def test_recordings(tmp_path: Path) -> None:
    folder = tones(tmp_path / "tones", 10)
    run, out = exported(str(folder), tmp_path, "convnet", model__width=4)
    data = read(str(folder), {}, like=run.spec)
    rows = fw.predict(run, [str(folder)])
    (said,) = run_file(out, as_fed(data.inputs))
    classes = facts(out)["classes"]
    keys = [str(key) for key in data.keys]
    for row in rows:
        own = said[next(i for i, key in enumerate(keys) if row["input"].endswith(key))]
        assert own[classes.index(row["prediction"])] == pytest.approx(row["probability"], abs=1e-3)


# Boxes.


@pytest.fixture(scope="module", params=[0, 40], ids=["untrained", "trained"])
def detector(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A detector, and pictures of several sizes, some of them without anything."""
    root = tmp_path_factory.mktemp("boxes")
    folder = write_voc(root / "things", scenes(12))
    epochs = request.param or 1
    more = {} if request.param else {"optim.lr": 1e-9}
    settings = {
        **FEW,
        "data.image_size": 64,
        "train.epochs": epochs,
        "augment.policy": "none",
        **more,
    }
    run = fw.fit(str(folder), settings=settings, out=root / "run")
    for i, size in enumerate([(40, 90), (64, 64)]):
        Image.fromarray(np.full((*size, 3), 60 * i, np.uint8)).save(
            folder / f"JPEGImages/empty{i}.png"
        )
    return run, folder / "JPEGImages"


def letterboxed(path: Path, known: dict[str, Any]) -> np.ndarray:
    """A picture as the file reads it, by what its metadata say."""
    height, width = known["inputs"][0]["shape"][2:]
    with Image.open(path) as image:
        fit = letterbox((image.height, image.width), (height, width))
        inner = image.convert("RGB").resize(fit.inner[::-1], Image.Resampling.BILINEAR)
    out = np.full((height, width, 3), known["fill"], np.float32)
    out[fit.top : fit.top + fit.inner[0], fit.left : fit.left + fit.inner[1]] = np.asarray(inner)
    return out.transpose(2, 0, 1)


@pytest.mark.slow
@pytest.mark.parametrize("nms", ["inside", "outside"])
def test_boxes_in_onnxruntime_are_those_of_predict(
    detector: tuple[Any, Path], nms: str, tmp_path: Path
) -> None:
    run, folder = detector
    out = tmp_path / "model.onnx"
    said = fw.export(run, out, nms=nms)
    assert said["checked"]["difference"] < 1e-3
    known = facts(out)
    assert known["classes"] == list(run.spec.classes) and known["nms"]["where"] == nms
    paths = sorted(folder.iterdir())
    fed = np.stack([letterboxed(path, known) for path in paths])
    expected = decode(run, fed.astype(np.uint8)).prediction
    outputs = run_file(out, fed)
    if nms == "inside":
        (found,) = outputs
        lists = [rows[rows[:, 0] >= 0] for rows in found]
    else:
        corners, scores = map(torch.from_numpy, outputs)
        lists = [rows.numpy() for rows in suppressed(corners, scores)]
    counts = set()
    for own, wanted in zip(lists, expected, strict=True):
        wanted = wanted[~np.isnan(wanted[:, 0])]
        assert _unmatched(own, wanted) < 1e-3
        counts.add(len(wanted))
    assert len(counts) > 1 or run.recipe["train.epochs"] == 1
    names = [str(path) for path in paths]
    for row, own, path in zip(fw.predict(run, names), lists, paths, strict=True):
        shown = own[own[:, 5] >= 0.25]
        with Image.open(path) as image:
            fit = letterbox((image.height, image.width), run.spec.kept_size)
        places = fit.undone(shown[:, 1:5].astype(np.float64))
        wanted = np.array([box["box"] for box in row["prediction"]]).reshape(-1, 4)
        np.testing.assert_allclose(places, wanted, rtol=0, atol=0.01)
        assert [run.spec.classes[int(k)] for k in shown[:, 0]] == [
            b["class"] for b in row["prediction"]
        ]


# What is refused, and said.


@pytest.fixture(scope="module")
def table_run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("wine") / "run"
    return fw.fit("wine", model="linear", settings=FEW, out=place)


def test_wrong_calls_are_refused_and_nothing_is_written(table_run: Any, tmp_path: Path) -> None:
    there = tmp_path / "there.onnx"
    there.write_text("mine")
    with pytest.raises(FolderError, match="there already"):
        fw.export(table_run, there)
    with pytest.raises(SettingError, match="inside the file or outside"):
        fw.export(table_run, tmp_path / "a.onnx", nms="sideways")
    with pytest.raises(SettingError, match="for a detector"):
        fw.export(table_run, tmp_path / "a.onnx", nms="inside")
    with pytest.raises(FolderError, match="weights"):
        fw.export(replace(table_run, folder=tmp_path), tmp_path / "a.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["there.onnx"]


def test_a_library_that_is_missing_is_named(
    table_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["fitwell.export"]  # fitwell.export is the function
    monkeypatch.setattr(module, "_LIBRARIES", ("onnx", "no_such_library"))
    with pytest.raises(SettingError, match=r'no_such_library.*"fitwell\[export\]"'):
        fw.export(table_run, tmp_path / "a.onnx")


class Undecided(torch.nn.Module):
    """A network whose way depends on its values: torch can trace none of the ways."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.out = torch.nn.Linear(spec.input_shape[0], spec.num_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x) if float(x.sum()) > 0 else self.out(-x)


class OfTwo(Undecided):
    """A network that counts its batch, so that what is traced is of that batch alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x) + torch.zeros(len(x), 1)


@pytest.mark.parametrize(
    ("network", "why"), [(Undecided, "depends on the values"), (OfTwo, "as len(x) does")]
)
def test_what_torch_cannot_export_is_refused_by_name(
    network: Any,
    why: str,
    table_run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, prepared = load_model(table_run)
    model = network(table_run.spec).eval()
    monkeypatch.setattr("fitwell.train.load_model", lambda run: (model, prepared))
    with pytest.raises(
        SettingError, match=r"model.name = linear: torch cannot export it"
    ) as caught:
        fw.export(table_run, tmp_path / "a.onnx")
    assert caught.value.exit_code == 2 and "\n" not in caught.value.message
    assert why in caught.value.message and capsys.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


class Drifting(torch.nn.Module):
    """A network that says something else when it is exported."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.out = torch.nn.Linear(spec.input_shape[0], spec.num_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x) * (1.1 if torch.compiler.is_exporting() else 1.0)


def test_a_file_that_says_something_else_is_taken_away(
    table_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, prepared = load_model(table_run)
    model = Drifting(table_run.spec).eval()
    monkeypatch.setattr("fitwell.train.load_model", lambda run: (model, prepared))
    with pytest.raises(SettingError, match="says something else than the model, by 0"):
        fw.export(table_run, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_the_command_line(
    table_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model.onnx"
    assert command_line(["export", str(table_run.folder), "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["file"] == str(out) and said["task"] == "classification" and said["nms"] is None
    assert said["inputs"] == [
        {"name": "rows", "axes": ["batch", "column"], "shape": ["batch", 13], "type": "float32"}
    ]
    assert command_line(["export", str(table_run.folder)]) == 2
    assert "--out model.onnx" in capsys.readouterr().err
    assert command_line(["export", str(table_run.folder), "--out", str(out)]) == 2
    out.unlink()
    assert command_line(["export", str(table_run.folder), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "gives  probabilities" in printed and "Checked: " in printed
    assert all(len(line) <= 80 for line in printed.splitlines()[1:])


def test_a_wrong_option_is_refused_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from fitwell.cli.main import run; assert run(sys.argv[1:]) == 2;"
        "assert 'torch' not in sys.modules"
    )
    arguments = ["export", "nowhere", "--out", str(tmp_path / "a.onnx"), "--nms", "insid"]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


def test_what_the_file_does_not_do_is_said(table_run: Any) -> None:
    recipe = Recipe({**table_run.recipe, "augment.tta": "mirror", "train.state": "carried"})
    environment = {**table_run.environment, "precision": "bfloat16"}
    notes = _notes(replace(table_run, recipe=recipe, environment=environment))
    for said, note in zip(("augment.tta = mirror", "no state", "bfloat16"), notes, strict=True):
        assert said in note
    assert _notes(table_run) == []
