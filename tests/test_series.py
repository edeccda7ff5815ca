"""Many series, each with a class or number: read, checked, standardised, learnt from, predicted, shown."""

import base64
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from data_problems import named
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import fitwell as fw
from fitwell.api.results import write_report
from fitwell.data import BadData, check, preprocess, read
from fitwell.data.batches import Batches
from fitwell.data.inputs import read_inputs
from fitwell.data.near_series import near_series
from fitwell.data.panel_arrays import padded
from fitwell.data.steps import lengths, missing_inside, prepared
from fitwell.errors import SettingError
from fitwell.models import build
from fitwell.models.parts import example_inputs
from fitwell.report.facts import gather, held_out_predictions
from fitwell.report.mistakes import examples
from fitwell.resolve import complete
from fitwell.spec import Spec
from fitwell.trials.handover import read_data, write_data

RNG = np.random.default_rng
NAN = np.nan


def waves(n: int = 60, channels: int = 2, steps: int = 30, seed: int = 0) -> tuple[Any, Any]:
    """Noisy waves of two frequencies, by class."""
    rng = RNG(seed)
    y = rng.permutation(np.arange(n) % 2)
    phase = rng.uniform(0, 1, (n, channels, 1))
    x = np.sin(np.arange(steps) / (2 + 3 * y[:, None, None]) + phase)
    return (x + 0.1 * rng.normal(size=x.shape)).astype(np.float32), np.array(["fast", "slow"])[y]


def unequal(n: int = 60, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """The same, cut to 10 to 30 steps."""
    x, y = waves(n, seed=seed)
    return [each[:, : 10 + i % 21] for i, each in enumerate(x)], y


SERIES = {"kind": "series"}


# What a model sees.


def test_the_end_is_known_from_the_raw_series() -> None:
    x = padded(
        [np.ones((2, 3)), np.array([[1.0, NAN, NAN, NAN], [NAN, NAN, 2.0, NAN]]), np.ones((2, 4))]
    )
    assert lengths(x).tolist() == [3, 3, 4]
    assert missing_inside(x).sum((1, 2)).tolist() == [0, 4, 0]
    assert lengths(np.full((1, 2, 4), NAN)).tolist() == [0]


values = st.one_of(st.floats(-1e3, 1e3, width=32), st.just(NAN))
panels = arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 9)), elements=values
)


def naively(x: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """A twin that goes from value to value."""
    out = np.zeros(x.shape)
    for i, series in enumerate(x.tolist()):
        steps = [t for t in range(x.shape[2]) if any(c[t] == c[t] for c in series)]
        for c, channel in enumerate(series):
            known = [t for t in steps if channel[t] == channel[t]]
            for t in range(steps[-1] + 1 if steps else 0):
                before, after = [k for k in known if k <= t], [k for k in known if k >= t]
                if not known:
                    value = mean[c]
                elif not before or not after:
                    value = channel[known[0] if not before else known[-1]]
                elif before[-1] == after[0]:
                    value = channel[t]
                else:
                    a, b = before[-1], after[0]
                    value = channel[a] + (channel[b] - channel[a]) * (t - a) / (b - a)
                out[i, c, t] = (value - mean[c]) / scale[c]
    return out


@given(panels)
def test_gaps_are_filled_on_the_line_between_and_the_end_with_nought(x: np.ndarray) -> None:
    mean, scale = np.linspace(-2, 5, x.shape[1]), np.linspace(0.5, 3, x.shape[1])
    out = prepared(x, mean, scale)
    assert out.dtype == np.float32 and np.isfinite(out).all()
    np.testing.assert_allclose(out, naively(x, mean, scale), rtol=1e-4, atol=1e-3)


@given(panels)
def test_a_model_can_tell_the_end_exactly(x: np.ndarray) -> None:
    out = prepared(x, np.zeros(x.shape[1]), np.ones(x.shape[1]))  # a value of 0 stays 0
    there = (out != 0).any(1)
    last = np.where(there.any(1), x.shape[2] - there[:, ::-1].argmax(1), 0)
    assert last.tolist() == lengths(x).tolist()


@given(panels)
def test_one_series_does_not_depend_on_the_others(x: np.ndarray) -> None:
    mean, scale = np.full(x.shape[1], 0.3), np.full(x.shape[1], 2.0)
    alone = np.concatenate([prepared(x[i : i + 1], mean, scale) for i in range(len(x))])
    assert (prepared(x, mean, scale) == alone).all()


def test_standardised_by_the_training_rows_alone() -> None:
    x, y = waves(40)
    x[3, 1, 5:] = NAN
    x[:, 1] = x[:, 1] * 50 + 1000
    data = read((x, y), SERIES)
    rows = np.arange(30)
    fitted = preprocess.fit(data, rows)
    np.testing.assert_allclose(fitted.mean, np.nanmean(x[rows].astype(float), (0, 2)), rtol=1e-6)
    np.testing.assert_allclose(fitted.scale, np.nanstd(x[rows].astype(float), (0, 2)), rtol=1e-5)
    other = x.copy()
    other[30:] = other[30:] * 7 + 3
    assert preprocess.fit(read((other, y), SERIES), rows) == fitted
    assert preprocess.Preprocess.from_json(fitted.to_json()) == fitted


def test_moments_in_chunks_are_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    x = RNG(0).normal(5e4, 0.1, (50, 3, 20)).astype(np.float32)
    x[7, 0, 3:9] = NAN
    x[:20, 1] = NAN  # a channel that begins to be known in a later chunk
    monkeypatch.setattr("fitwell.data.steps.CHUNK_VALUES", 300)
    fitted = preprocess.fit(read((x, np.arange(50) % 2), SERIES), np.arange(50))
    np.testing.assert_allclose(fitted.mean, np.nanmean(x.astype(float), (0, 2)), rtol=1e-9)
    np.testing.assert_allclose(fitted.scale, np.nanstd(x.astype(float), (0, 2)), rtol=1e-6)


def test_batches_are_the_same_prepared_at_once_or_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = read(unequal())
    fitted = preprocess.fit(data, np.arange(60))

    def all_of(ready: bool) -> torch.Tensor:
        batches = Batches(
            data.inputs, data.targets, np.arange(60), batch_size=16, preprocess=fitted
        )
        assert batches.feed.ready == ready
        return torch.cat([batch.x for batch in batches.epoch(0)])

    ready = all_of(True)
    monkeypatch.setattr("fitwell.data.feeds.MOST_FLOAT_BYTES", 100)
    assert torch.equal(ready, all_of(False))
    assert ready.shape == (60, 2, 30)


# What is read.


def test_arrays_lists_and_their_notes() -> None:
    x, y = waves()
    assert read((x, y), SERIES).spec.input_shape == (2, 30)
    assert read((x[:, :1], y)).spec.kind == "series"  # a channel axis of 1
    short = x.copy()
    short[0, :, 20:] = NAN
    guessed = read((short, y))
    assert guessed.spec.kind == "series"
    assert "2 channels and 30 steps" in named(guessed.problems, "read_as_series").message
    assert "data.kind=images" in named(read((x[:, :1], y)).problems, "read_as_series").mend
    assert all(p.name != "read_as_series" for p in read((x, y), SERIES).problems)
    images = read(
        (x, y)
    )  # floats without either stay what they were, and the note says the other reading
    assert images.spec.kind == "images"
    assert "data.kind=series" in named(images.problems, "read_as_images").mend
    whole = RNG(0).integers(0, 255, (60, 1, 9))
    assert read((whole, y)).spec.kind == "images" and read((whole * 300, y)).spec.kind == "series"
    assert read((whole, y), SERIES).spec.input_shape == (1, 9)
    flat = read((x[:, 0], y), SERIES)
    assert flat.spec.input_shape == (1, 30) and named(flat.problems, "read_as_series")
    assert read((x[:, 0], y)).spec.kind == "table"
    assert named(read((x.transpose(0, 2, 1), y), SERIES).problems, "more_channels_than_steps")
    assert read((torch.from_numpy(x), y), SERIES).spec.kind == "series"


def test_lists_of_unequal_arrays() -> None:
    x, y = unequal()
    data = read((x, y))
    assert data.spec.kind == "series" and data.spec.input_shape == (2, 30)
    assert data.spec.examples == "series of 2 channels and at most 30 steps"
    assert lengths(data.inputs).tolist() == [each.shape[1] for each in x]
    turned = read(([each.T for each in x], y))
    assert named(turned.problems, "series_transposed")
    assert np.array_equal(turned.inputs, data.inputs, equal_nan=True)
    single = read(([each[0] for each in x], y))
    assert np.array_equal(single.inputs, data.inputs[:, :1], equal_nan=True)
    plain = read(([each.tolist() for each in x], y), SERIES)
    assert np.array_equal(plain.inputs, data.inputs, equal_nan=True)
    note = named(data.problems, "lengths_vary")
    assert "10 to 30 steps" in note.message and note.where == ("row 0", "row 20")


def test_nan_inside_does_not_make_images_series() -> None:
    images = np.where(RNG(0).random((60, 28, 28)) < 0.01, NAN, 1.0)
    images[7] = NAN  # a picture that was lost is no series that ends at once
    images[9] = 1.0
    _, problems = check((images, np.arange(60) % 2))
    problem = named(problems, "nonfinite_inputs")
    assert problem.severity == "error" and len(problem.where) == np.isnan(images).any((1, 2)).sum()
    assert "row 7" in problem.where and "row 9" not in problem.where
    assert "data.kind=series" in problem.mend and "images" in problem.mend
    holes, y = waves()
    holes[3, 0, 3] = NAN
    with pytest.raises(BadData, match="1 of 60"):
        read((holes, y))
    assert read((holes, y), SERIES).spec.kind == "series"
    with pytest.raises(BadData, match="NaN"):
        read((holes, y), {"kind": "images"})


def test_object_arrays_and_frames_of_series() -> None:
    x, y = unequal()
    boxed = np.empty(len(x), object)
    boxed[:] = x
    for options in (SERIES, {}):
        assert np.array_equal(read((boxed, y), options).inputs, read((x, y)).inputs, equal_nan=True)
    equal, y = waves()
    boxed[:] = list(equal)
    assert np.array_equal(read((boxed, y), SERIES).inputs, equal)
    frame = pl.DataFrame(equal[:, 0])
    assert np.array_equal(read((frame, y), SERIES).inputs, equal[:, :1])
    pandas = pytest.importorskip("pandas")
    data = read((pandas.DataFrame(equal[:, 0]), y), SERIES)
    assert np.array_equal(data.inputs, equal[:, :1]) and data.spec.kind == "series"
    assert read((frame, y)).spec.kind == "table"
    with pytest.raises(SettingError, match=r"data\.group"):
        read((frame, y), {**SERIES, "group": "column_1"})


class Items(torch.utils.data.Dataset):
    """A Dataset of series of unequal length."""

    def __init__(self, x: list[np.ndarray], y: np.ndarray) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        return torch.from_numpy(self.x[index]), int(self.y[index] == "slow")


def test_datasets_and_images_of_several_sizes() -> None:
    x, y = unequal()
    data = read(Items(x, y), SERIES)
    assert np.array_equal(data.inputs, read((x, y)).inputs, equal_nan=True)
    with pytest.raises(BadData, match="row 0 has shape"):
        read(Items(x, y))
    grey = [np.zeros((4 + i % 3, 5), np.uint8) for i in range(8)]
    with pytest.raises(BadData, match="not a rectangular array"):
        read((grey, [0, 1] * 4))


@pytest.mark.parametrize(
    ("x", "why"),
    [
        (np.zeros((8, 2, 3, 4)), "wrong_shape"),
        (np.zeros((8, 0, 4)), "empty"),
        ([np.ones((2, 4)), np.ones((3, 5))] * 4, "channels_differ"),
        ([["a"], ["b", "c"]] * 4, "ragged"),
        (np.full((8, 1, 4), NAN), "no_series"),
    ],
)
def test_what_is_no_series_is_refused(x: Any, why: str) -> None:
    with pytest.raises(BadData) as raised:
        read((x, [0, 1] * 4), SERIES)
    assert raised.value.problems[0].name == why and raised.value.problems[0].mend


def test_other_kinds_are_refused_with_what_it_is() -> None:
    x, y = waves()
    with pytest.raises(BadData, match="holds series"):
        read(([x[0], x[1][:, :5]] * 4, [0, 1] * 4), {"kind": "series", "image_size": 8})
    spec = read((x, y), SERIES).spec
    for model in ("lenet", "resnet", "torchvision:resnet18"):
        with pytest.raises(
            SettingError, match="these are series of 2 channels and at most 30 steps"
        ):
            build(model, spec, {})
    with pytest.raises(SettingError, match="these are series of 2"):
        complete({"augment.hflip": 0.5}, spec)
    with pytest.raises(SettingError, match="this data is series"):
        complete({"data.scaling": "robust"}, spec)
    usual = complete({}, spec)
    assert usual["model.name"] == "fcn" and usual["optim.name"] == "adamw"
    assert usual["train.epochs"] == 180  # on few examples
    assert complete({"model.name": "linear"}, spec)["optim.name"] == "sgd"


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_npz_with_parts_of_different_lengths(tmp_path: Path) -> None:
    x, y = waves(40)
    y = (y == "slow").astype(int)
    path = save(
        tmp_path / "waves.npz",
        X_train=x[:30, :, :20],
        X_test=x[30:],
        y_train=y[:30],
        y_test=y[30:],
        len_train=np.full(30, 15),  # what stands behind is no part of the series
        len_test=np.full(10, 30),
        classes=np.array(["quick", "lazy"]),
    )
    data = read(path)
    assert data.spec.kind == "series" and data.spec.input_shape == (2, 30)
    assert lengths(data.inputs).tolist() == [15] * 30 + [30] * 10
    assert data.spec.classes == ("quick", "lazy") and (data.targets == y).all()
    assert (data.part == ["train"] * 30 + ["test"] * 10).all()
    wrong = save(tmp_path / "wrong.npz", X=x, y=y, lengths=np.full(40, 31))
    assert read(wrong, {"kind": "images"}).spec.kind == "images"
    with pytest.raises(BadData) as raised:
        read(wrong)
    assert raised.value.problems[0].name == "lengths_differ"
    flat = save(
        tmp_path / "flat.npz",
        X_train=x[:30, 0, :20],
        X_test=x[30:, 0],
        y_train=y[:30],
        y_test=y[30:],
    )
    assert read(flat, SERIES).spec.input_shape == (1, 30)


def test_npz_lengths_and_what_is_only_called_so(tmp_path: Path) -> None:
    x, y = waves(40)
    codes = (y == "slow").astype(int)
    ends = np.arange(40) % 20 + 11

    def kept(options: Any = None, **more: Any) -> Any:
        return read(save(tmp_path / "waves.npz", X=x, y=codes, **more), options or {})

    for same in (ends, ends.astype(float), ends.astype(np.uint8)):
        data = kept(lengths=same)
        assert lengths(data.inputs).tolist() == ends.tolist()
        assert named(data.problems, "read_as_series")
    for other in (np.array(30), np.array([30]), np.array("30 steps")):
        assert kept(length=other).spec.kind == "images"
    assert kept(SERIES, length=np.array(30)).spec.kind == "series"
    for wrong, said in (
        (ends - 11, "0 for row 0 and 0 for row 20"),
        (-ends, "-11 for row 0"),
        (ends + 0.5, r"11\.5 for row 0"),
        (np.where(ends == 13, NAN, ends), "nan for row 2"),
        (ends.astype(str), "of type <U"),
    ):
        with pytest.raises(BadData, match=said) as raised:
            kept(lengths=wrong)
        assert raised.value.problems[0].name == "lengths_differ"
    with pytest.raises(BadData, match=r"shape \[39\]"):
        kept(SERIES, lengths=ends[:39])


@pytest.mark.parametrize("kind", ["series", "images"])
def test_npz_groups_of_another_length_are_refused(tmp_path: Path, kind: str) -> None:
    x, y = waves(40)
    y = (y == "slow").astype(int)
    path = save(tmp_path / "waves.npz", X=x, y=y, who=np.arange(39), whose=np.arange(40) // 2)
    _, problems = check(path, {"kind": kind, "group": "who"})
    assert "shape [39]" in named(problems, "lengths_differ").message
    assert read(path, {"kind": kind, "group": "whose"}).groups is not None


HEADER = """# a comment
@problemName Waves
@timeStamps false
@univariate false
@dimensions 2
@equalLength false
@classLabel true up down
@data
"""


def ts(series: Any, labels: Any, header: str = HEADER) -> str:
    def said(value: float) -> str:
        return "?" if np.isnan(value) else f"{value:.6g}"

    lines = [
        ":".join([*(",".join(map(said, channel)) for channel in each), str(label)])
        for each, label in zip(series, labels, strict=True)
    ]
    return header + "\n".join(lines) + "\n"


def write_ts(
    folder: Path, n: int = 40, header: str = HEADER
) -> tuple[list[np.ndarray], np.ndarray]:
    x, y = unequal(n)
    y = np.where(y == "fast", "up", "down")
    x[2] = x[2].copy()
    x[2][0, 4] = NAN
    folder.mkdir(exist_ok=True)
    (folder / "Waves_TRAIN.ts").write_text(ts(x[:30], y[:30], header), encoding="utf-8")
    (folder / "Waves_TEST.ts").write_text(ts(x[30:], y[30:], header), encoding="utf-8")
    return x, y


def test_ts_files_and_their_own_split(tmp_path: Path) -> None:
    x, y = write_ts(tmp_path / "waves")
    (tmp_path / "waves" / "readme.md").write_text("about", encoding="utf-8")
    for source in ("waves", "waves/Waves_TRAIN.ts", "waves/Waves_TEST.ts"):
        data = read(tmp_path / source)
        assert data.spec.kind == "series" and data.spec.classes == ("down", "up")
        np.testing.assert_allclose(
            data.inputs[np.argsort(data.part, kind="stable")][10:], padded(x)[:30], rtol=1e-5
        )
        assert np.array(data.spec.classes)[data.targets].tolist()[-30:] == y[:30].tolist()
        assert (data.part == "test").sum() == 10 and (data.part == "train").sum() == 30
    assert str(data.keys[0]) == "Waves_TEST.ts line 9"
    alone = tmp_path / "Waves_TRAIN.ts"
    alone.write_bytes((tmp_path / "waves" / "Waves_TRAIN.ts").read_bytes())
    assert set(read(alone).part) == {""} and len(read(alone)) == 30
    with zipfile.ZipFile(tmp_path / "waves.zip", "w") as file:
        for path in (tmp_path / "waves").iterdir():
            file.write(path, path.name)
    assert len(read(tmp_path / "waves.zip")) == 40
    (tmp_path / "waves" / "Other_TRAIN.ts").write_bytes(alone.read_bytes())
    with pytest.raises(BadData, match="2 names"):
        read(tmp_path / "waves")


def test_ts_with_numbers_to_predict(tmp_path: Path) -> None:
    x, _ = unequal(40)
    header = HEADER.replace("@classLabel true up down", "@targetLabel true")
    path = tmp_path / "heights.ts"
    path.write_text(ts(x, np.arange(40) / 2, header), encoding="utf-8")
    data = read(path)
    assert data.spec.task == "regression" and data.targets[7] == 3.5
    path.write_text(ts(x, ["high"] * 40, header), encoding="utf-8")
    with pytest.raises(BadData, match="no numbers"):
        read(path)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("@timeStamps false", "@timeStamps true", "time_stamps"),
        ("@classLabel true up down", "@classLabel false", "no_target"),
        ("@data", "", "unreadable_file"),
    ],
)
def test_ts_that_cannot_be_learnt_from(tmp_path: Path, old: str, new: str, why: str) -> None:
    write_ts(tmp_path, header=HEADER.replace(old, new))
    _, problems = check(tmp_path / "Waves_TRAIN.ts")
    assert named(problems, why).severity == "error"


def test_ts_lines_and_headers_that_are_wrong(tmp_path: Path) -> None:
    x, y = unequal(30)
    header = HEADER.replace("up down", "fast slow sideways").replace(
        "@univariate false", "@univariate true"
    )
    text = ts(x, y, header.replace("@equalLength false", "@equalLength true\n@seriesLength 31"))
    lines = text.splitlines()
    text += "1,2,3:fast\n1,two:3,4:fast\n1,2:3,4:\n1,2:3,4:fasst\n1,2:5,4:fasst\n?,?:?:fast\n"
    path = tmp_path / "waves.ts"
    path.write_text(text, encoding="utf-8")
    data, problems = check(path)
    assert data is not None and len(data) == 32
    bad = named(problems, "unreadable_lines")
    first = len(lines) + 1
    assert bad.where == tuple(f"line {first + i}" for i in range(3))
    assert "1 channel, not 2" in bad.message and "two is no number" in bad.message
    assert named(problems, "empty_series").where == (f"line {first + 5}",)
    assert named(problems, "undeclared_class").where == ("fasst",)
    assert named(problems, "empty_class").where == ("sideways",)
    differs = named(problems, "header_differs").message
    assert all(tag in differs for tag in ("@univariate", "@equalLength", "@seriesLength"))


def test_a_ts_line_without_a_label_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "one.ts"
    header = "@univariate true\n@classLabel true a b\n@data\n"
    lines = [f"{i},{i + 1},{i % 7}:{'ab'[i % 2]}" for i in range(60)]
    path.write_text(header + "\n".join(["1,2,3", *lines]) + "\n", encoding="utf-8")
    data, problems = check(path)
    assert data is not None and len(data) == 60 and data.spec.input_shape == (1, 3)
    bad = named(problems, "unreadable_lines")
    assert bad.where == ("line 4",) and "no class or number at its end" in bad.message
    x, y = unequal(30)
    header = HEADER.replace("@dimensions 2\n", "").replace("up down", "fast slow")
    path.write_text(header + "1,2:3,4\n" + ts(x, y, ""), encoding="utf-8")
    data, problems = check(path)
    assert data is not None and len(data) == 30
    assert named(problems, "unreadable_lines").where == ("line 8",)


@pytest.mark.parametrize("header", [HEADER, HEADER.replace("@dimensions 2\n", "")])
def test_ts_lines_without_labels_are_predicted_from(tmp_path: Path, header: str) -> None:
    x, y = unequal(30)
    spec = read((x, y)).spec
    path = tmp_path / "new.ts"
    labelled = ts(x, y, header)
    path.write_text(labelled, encoding="utf-8")
    whole = read_inputs(path, spec)
    assert len(whole.keys) == 30
    for changed in (
        labelled.replace(":fast", "").replace(":slow", ""),
        labelled.replace(":fast", ":").replace(":slow", ":?"),
        labelled.replace(":fast", ""),
    ):
        path.write_text(changed, encoding="utf-8")
        found = read_inputs(path, spec)
        assert found.keys == whole.keys and not found.problems
        assert np.array_equal(found.inputs, whole.inputs, equal_nan=True)


def test_ts_goes_with_models_of_series_and_without_a_pattern(tmp_path: Path) -> None:
    write_ts(tmp_path)
    path = tmp_path / "Waves_TRAIN.ts"
    for spec in (
        Spec("images", "classification", (1, 8, 8), ("a", "b")),
        Spec("table", "classification", (2,), ("a", "b")),
        Spec("text", "classification", (9,), ("a", "b")),
    ):
        with pytest.raises(BadData, match="holds series, and this model reads") as raised:
            read_inputs(path, spec)
        assert raised.value.problems[0].name == "other_kind"
    with pytest.raises(SettingError, match=r"data\.pattern"):
        read(path, {"pattern": "{label}_{index}"})


def test_typescript_and_video_are_no_series(tmp_path: Path) -> None:
    (tmp_path / "clip.ts").write_bytes(b"G\x40\0" * 100)
    (tmp_path / "main.ts").write_text("export const a = 1\n", encoding="utf-8")
    with pytest.raises(BadData, match="no image"):
        read(tmp_path)
    with pytest.raises(BadData, match="no line @data"):
        read(tmp_path / "main.ts")


# What is wrong.


def flawed(**changes: Any) -> Any:
    x, y = waves(60)
    for name, change in changes.items():
        x[int(name[1:])] = change(x[int(name[1:])])
    return check((x, y), SERIES)[1]


def put(place: Any, value: float) -> Any:
    def change(series: np.ndarray) -> np.ndarray:
        out = series.copy()
        out[place] = value
        return out

    return change


def test_healthy_series_have_no_problem() -> None:
    assert flawed() == ()


def test_missing_constant_and_short_series() -> None:
    missing = named(flawed(_4=put((1, slice(3, 6)), NAN)), "missing_values")
    assert (
        missing.where == ("row 4",) and "3 values" in missing.message and missing.severity == "note"
    )
    mostly = named(flawed(_4=put((slice(None), slice(0, 29)), NAN)), "missing_values")
    assert mostly.severity == "warning"
    constant = flawed(_5=put(..., 2.0))
    assert [p.name for p in constant] == ["constant_series"] and constant[0].where == ("row 5",)
    assert named(flawed(_6=put(0, 2.0)), "flat_channel").where == ("row 6",)
    assert named(flawed(_7=put((slice(None), slice(1, None)), NAN)), "short_series").where == (
        "row 7",
    )
    assert named(flawed(_8=put(..., NAN)), "empty_series").where == ("row 8",)
    x, y = waves()
    x[:, 1] = 3
    assert named(check((x, y), SERIES)[1], "constant_channel").where == ("channel 1",)
    x[:, 0] = 3
    assert named(check((x, y), SERIES)[1], "constant_inputs").severity == "error"


def test_infinite_values_are_errors() -> None:
    found = named(flawed(_9=put((0, 3), np.inf)), "nonfinite_inputs")
    assert found.severity == "error" and found.where == ("row 9",)
    assert named(flawed(_9=put((0, 3), NAN)), "missing_values")


def test_exact_copies_with_missing_values() -> None:
    x, y = unequal(60)
    odd = np.array([0x7FC00001], np.uint32).view(np.float32)[0]  # a nan of other bits
    x[10] = x[10].copy()
    x[10][0, 3] = NAN
    x[31] = x[10].copy()
    x[31][0, 3] = odd
    y[31] = y[10]
    found = [p for p in check((x, y))[1] if "duplicate" in p.name]
    assert [p.where for p in found] == [("row 10", "row 31")]
    y[31] = "slow" if y[10] == "fast" else "fast"
    assert named(check((x, y))[1], "conflicting_labels").where == ("row 10", "row 31")


def test_copies_across_the_split(tmp_path: Path) -> None:
    x, y = waves(40)
    x[35], y[35] = x[3], y[3]
    x[36], y[36] = x[4] * 2 + 1, y[4]
    codes = (y == "slow").astype(int)
    path = save(
        tmp_path / "w.npz", X_train=x[:30], X_test=x[30:], y_train=codes[:30], y_test=codes[30:]
    )
    problems = check(path, SERIES)[1]
    assert named(problems, "duplicate_across_parts").where == ("train row 3", "test row 5")
    assert named(problems, "near_duplicate_across_parts").where == ("train row 4", "test row 6")


def test_near_copies_are_those_up_to_scale_and_shift() -> None:
    x, _ = waves(50, channels=2)
    x[41] = x[7] * np.array([[3.0], [0.1]]) + np.array([[5.0], [-2.0]])
    x[42] = -x[8]  # upside down is another course
    x[43] = x[9] + 0.05 * RNG(1).normal(size=x[9].shape)  # noisier, and so another recording
    x[44, :, 20:] = NAN
    x[44, :, :20] = x[10, :, :20]  # cut off
    x[45] = x[11]  # an exact copy is another problem
    assert near_series(x) == [(7, 41)]
    assert near_series(x[:, :, :8]) == []  # of so few values many are alike
    constant = np.ones((5, 1, 30), np.float32) * np.arange(5)[:, None, None]
    assert near_series(constant) == []


def test_near_copies_in_bounded_time() -> None:
    many_alike = np.sin(np.arange(60) / 5 + RNG(0).normal(size=(6000, 1, 1)) * 1e-6).astype(
        np.float32
    )
    assert near_series(many_alike) == []  # all of them are alike, so that says nothing


# Learnt from.


def test_end_to_end_on_made_series(tmp_path: Path) -> None:
    x, y = unequal(120)
    settings = {"train.epochs": 15, "train.threads": 1}
    run = fw.fit((x, y), settings=settings, out=tmp_path / "fit")
    assert run.scores["test"]["accuracy"] > 0.8
    answers = fw.predict(run, x[:5])
    assert [a["input"] for a in answers] == [f"row {i}" for i in range(5)]
    scored = fw.evaluate(run, ([each[:, :9] for each in x], y))[
        "scores"
    ]  # shorter than all it has seen
    assert 0.4 < scored["accuracy"] <= 1
    padded_too = fw.predict(run, padded(x[:5]))
    assert [a["prediction"] for a in padded_too] == [a["prediction"] for a in answers]
    with pytest.warns(UserWarning, match="only the first 30 steps"):
        fw.predict(run, [np.ones((2, 40)), x[0]])
    for wrong in (np.ones((3, 30)), np.ones((3, 1, 30)), np.full((1, 2, 30), np.inf)):
        with pytest.raises(BadData):
            fw.predict(run, wrong)
    folds = fw.cv(
        (x, y), settings={**settings, "data.folds": 2, "train.epochs": 3}, out=tmp_path / "cv"
    )
    assert len(folds.trials) == 2 and "accuracy" in folds.scores["validation"]


def test_ts_and_npz_are_predicted_and_evaluated(tmp_path: Path) -> None:
    write_ts(tmp_path / "waves")
    run = fw.fit(
        tmp_path / "waves",
        settings={"train.epochs": 5, "train.threads": 1, "train.batch_size": 16},
        out=tmp_path / "run",
    )
    test = tmp_path / "waves" / "Waves_TEST.ts"
    answers = fw.predict(run, test)
    assert len(answers) == 10 and answers[0]["input"] == f"{test} line 9"
    text = test.read_text(encoding="utf-8").replace("@classLabel true up down", "@classLabel false")
    bare = tmp_path / "bare.ts"
    bare.write_text(re.sub(r":(up|down)\n", "\n", text), encoding="utf-8")
    assert [a["prediction"] for a in fw.predict(run, bare)] == [a["prediction"] for a in answers]
    assert len(fw.predict(run, tmp_path / "waves")) == 40
    scored = fw.evaluate(run, test)["scores"][
        "accuracy"
    ]  # of this file alone, not of its training part
    true = [line.rsplit(":", 1)[1] for line in test.read_text(encoding="utf-8").splitlines()[8:]]
    assert scored == pytest.approx(
        np.mean([a["prediction"] == t for a, t in zip(answers, true, strict=True)])
    )
    assert run.spec is not None
    x = read(test, like=run.spec).inputs
    path = save(tmp_path / "new.npz", X_train=x[:6, :, :25], X_test=x[6:])
    found = read_inputs(path, run.spec)
    assert found.keys[0] == f"{path} train row 0" and found.keys[6] == f"{path} test row 0"
    assert found.inputs.shape == (10, 2, 30)
    table = tmp_path / "t.csv"
    table.write_text("a,b\n1,2\n3,4\n", encoding="utf-8")
    for verb in (fw.predict, fw.evaluate):  # a row of a table is a series of one channel
        with pytest.raises(BadData, match=r"t\.csv holds series of 1 channel, .* reads 2"):
            verb(run, table)


def test_models_on_series() -> None:
    spec = Spec("series", "classification", (3, 20), ("a", "b"))
    assert example_inputs(spec, 4).shape == (4, 3, 20)
    for name, settings in (
        ("mlp", {}),
        ("linear", {}),
        ("sequential", {"layers": ["conv1d(4, kernel=3)", "relu", "flatten"]}),
    ):
        assert build(name, spec, settings)(example_inputs(spec, 4)).shape == (4, 2)


def test_scikit_learn_takes_them() -> None:
    x, y = waves(60, channels=1)
    for settings, given_x in (({"data.kind": "series"}, x[:, 0]), ({}, x)):
        model = fw.Classifier("mlp", epochs=10, settings=settings, random_state=0).fit(given_x, y)
        assert model.spec_.kind == "series" and model.score(given_x, y) > 0.8


def test_workers_get_what_was_read(tmp_path: Path) -> None:
    data = read(unequal())
    write_data(data, tmp_path)
    again = read_data(tmp_path)
    assert again.spec == data.spec and np.array_equal(again.inputs, data.inputs, equal_nan=True)


def test_mistakes_are_drawn(tmp_path: Path) -> None:
    x, y = unequal(60)
    run = fw.fit(
        (x, y),
        model="linear",
        settings={"train.epochs": 1, "train.threads": 1},
        out=tmp_path / "run",
    )
    part = held_out_predictions(gather(run))[0]
    assert part is not None
    part.prediction[:] = 1 - part.target  # all wrong, whatever was learnt
    shown = examples(part, run.spec, run.data)
    assert shown and all(e.picture.startswith("data:image/svg+xml;base64,") for e in shown)
    drawn = base64.b64decode(shown[0].picture.partition(",")[2]).decode()
    assert "2 channels" in drawn and drawn.count("<path") > 2
    assert shown[0].picture != shown[1].picture
    write_report(run, tmp_path / "report.html", data=run.data)
    assert shown[0].picture in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_cleaned_copy_is_refused(tmp_path: Path) -> None:
    write_ts(tmp_path / "waves")
    with pytest.raises(BadData, match="holds series"):
        fw.check(tmp_path / "waves", fix=True, out=tmp_path / "clean.csv")


# Real ones.


@pytest.mark.parametrize(
    ("name", "shape", "sizes", "least"),
    [("GunPoint", (1, 150), (50, 150), 0.8), ("JapaneseVowels", (12, 29), (270, 370), 0.9)],
)
def test_archive_panels(
    shared: Path, tmp_path: Path, name: str, shape: Any, sizes: Any, least: float
) -> None:
    path = shared / "timeseries" / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"needs {name}.npz in shared/data/timeseries")
    found = fw.check(path)
    assert found.usable and found.spec and found.spec.input_shape == shape
    assert all(p.severity == "note" for p in found.problems)
    assert found.spec.classes == tuple(str(i + 1) for i in range(len(found.spec.classes)))
    few = {"train.threads": 1, "train.epochs": 40}
    run = fw.fit(path, settings=few, out=tmp_path / "run", examples=False)
    assert len(run.predictions["test"].target) == sizes[1]
    assert run.scores["test"]["accuracy"] > least
    if name == "JapaneseVowels":
        linear = fw.fit(
            path, model="linear", settings={"train.threads": 1}, out=tmp_path / "l", examples=False
        )
        assert linear.scores["test"]["accuracy"] > least
        with np.load(path) as archive:
            ends = np.concatenate([archive["len_train"], archive["len_test"]])
        assert run.data is not None and (lengths(run.data.inputs) == ends).all()


def test_a_table_with_dates_and_a_target_stays_a_table() -> None:
    days = pl.date_range(pl.date(2020, 1, 1), pl.date(2020, 3, 30), eager=True)
    frame = pl.DataFrame({"day": days, "x": np.arange(90) % 7, "y": np.arange(90) % 2})
    assert read(frame).spec.kind == "table"
