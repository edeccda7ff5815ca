"""Several targets an example: labels it may all have, or numbers, from reading to report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from data_problems import named
from PIL import Image
from sklearn.datasets import load_digits

import fitwell as fw
from fitwell.api.results import open_run
from fitwell.cli.main import run as command
from fitwell.data import BadData, Data, check, read, split
from fitwell.errors import SettingError
from fitwell.record import Predictions
from fitwell.report import mistakes
from fitwell.resolve import complete

QUICK = {"train.epochs": 12, "train.batch_size": 32, "model.name": "mlp", "model.width": 32}
EVEN, LOOP, LARGE = (0, 2, 4, 6, 8), (0, 6, 8, 9), (6, 7, 8, 9)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Real images, each with any of three labels; 1, 3 and 5 have none."""
    bunch: Any = load_digits()
    labels = np.stack([np.isin(bunch.target, which) for which in (EVEN, LOOP, LARGE)], axis=1)
    return bunch.images.astype(np.uint8)[:, None] * 15, labels.astype(np.uint8)


def text_of(labels: np.ndarray, between: str = ";") -> list[str]:
    return [
        between.join(name for name, yes in zip(("even", "loop", "large"), row, strict=True) if yes)
        for row in labels
    ]


def table(rows: int = 240) -> pl.DataFrame:
    """Two targets of different unit that depend on three columns."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3))
    first = x @ [1.0, 2.0, 0.0] + 0.1 * rng.normal(size=rows)
    second = 1000 + 500 * (x @ [0.0, 1.0, -1.0] + 0.1 * rng.normal(size=rows))
    columns = {f"c{i}": x[:, i] for i in range(3)}
    return pl.DataFrame({**columns, "height": first, "price": second})


# ---------------------------------------------------------------- reading


def test_columns_of_numbers_are_several_targets() -> None:
    data = read(table(), {"target": "height,price"})
    assert data.spec.task == "regression" and data.spec.targets == ("height", "price")
    assert data.spec.target == "height,price" and data.spec.num_outputs == 2
    assert data.targets.shape == (240, 2) and data.targets.dtype == np.float32
    assert [c.name for c in data.spec.columns] == ["c0", "c1", "c2"]


def test_a_column_with_a_comma_in_its_name_is_one_target() -> None:
    frame = table().rename({"price": "height,price"})
    data = read(frame, {"target": "height,price"})
    assert data.spec.targets == () and data.targets.ndim == 1


@pytest.mark.parametrize(
    ("given", "name", "words"),
    [
        ("height,weight", "no_such_column", "Did you mean height"),
        ("height,height", "target_twice", "names height twice"),
    ],
)
def test_wrong_names_of_several_targets(given: str, name: str, words: str) -> None:
    with pytest.raises(BadData, match=words) as error:
        read(table(), {"target": given})
    assert error.value.problems[0].name == name


def test_text_among_several_targets_is_refused() -> None:
    frame = table().with_columns(kind=pl.Series(["a", "b"] * 120))
    with pytest.raises(BadData, match="kind holds text"):
        read(frame, {"target": "height,kind"})


def test_a_row_without_one_of_several_targets_is_named() -> None:
    frame = table().with_columns(
        pl.Series("price", [None if i == 7 else 1.0 * i for i in range(240)])
    )
    with pytest.raises(BadData, match="row 7") as error:
        read(frame, {"target": "height,price"})
    assert error.value.problems[0].where == ("row 7",)


def test_a_constant_one_of_several_targets_is_an_error() -> None:
    frame = table().with_columns(price=pl.lit(3.0))
    _, problems = check(frame, {"target": "height,price"})
    assert [(p.name, p.where) for p in problems if p.severity == "error"] == [
        ("constant_target", ("price",))
    ]


def test_columns_of_0_and_1_are_labels_and_that_is_said() -> None:
    x, y = digits()
    data = read((x, y), {})
    assert data.spec.task == "multilabel" and data.targets.dtype == np.uint8
    assert data.spec.classes == ("target 0", "target 1", "target 2")
    assert data.spec.class_counts == tuple(y.sum(0))
    assert [p.name for p in data.problems if p.name == "task_guessed"] == ["task_guessed"]
    assert read((x, y), {"task": "regression"}).spec.task == "regression"
    with pytest.raises(BadData, match="a class is one"):
        read((x, y), {"task": "classification"})


def test_one_hot_targets_stay_classes_unless_labels_are_asked_for() -> None:
    bunch: Any = load_digits()
    one_hot = np.eye(10, dtype=int)[bunch.target]
    assert read((bunch.data, one_hot), {}).spec.task == "classification"
    assert read((bunch.data, one_hot), {"task": "multilabel"}).spec.task == "multilabel"


def test_labels_that_are_neither_0_nor_1_are_named() -> None:
    x, y = digits()
    y[5, 1] = 2
    with pytest.raises(BadData, match="is 2 in row 5"):
        read((x, y), {"task": "multilabel"})


@pytest.mark.parametrize("between", [";", "|", ", ", " "])
def test_text_of_several_labels(between: str) -> None:
    x, y = digits()
    frame = pl.DataFrame({"c": x[:, 0].mean((1, 2)), "labels": text_of(y, between)})
    data = read(frame, {"task": "multilabel"})
    assert data.spec.classes == ("even", "large", "loop")
    np.testing.assert_array_equal(data.targets, y[:, [0, 2, 1]])
    said = [p.name for p in data.problems if p.name == "labels_parted"]
    assert said == (["labels_parted"] if between in (", ", " ") else [])


def test_labels_of_which_each_example_has_one_are_said_to_be_classes() -> None:
    frame = pl.DataFrame({"c": np.arange(40.0), "labels": ["cat", "dog"] * 20})
    data = read(frame, {"task": "multilabel"})
    assert "one_label_each" in [p.name for p in data.problems]


def test_no_label_anywhere_and_unknown_labels() -> None:
    frame = pl.DataFrame({"c": np.arange(8.0), "labels": ["a;b", "", "a", "b"] * 2})
    spec = read(frame, {"task": "multilabel"}).spec
    with pytest.raises(BadData, match="no example has a label"):
        read(frame.with_columns(labels=pl.lit("")), {"task": "multilabel"})
    other = frame.with_columns(labels=pl.Series(["a;c", "", "a", "b"] * 2))
    with pytest.raises(BadData, match="c is not a label of the model") as error:
        read(other, {}, like=spec)
    assert error.value.problems[0].where == ("row 0", "row 4")
    assert read(frame, {}, like=spec).spec.classes == spec.classes


def photos(folder: Path) -> Path:
    """A table of image files with the labels of each."""
    x, y = digits()
    for i in range(120):
        Image.fromarray(x[i, 0]).save(folder / f"{i}.png")
    frame = pl.DataFrame({"file": [f"{i}.png" for i in range(120)], "tags": text_of(y[:120])})
    frame.write_csv(folder / "tags.csv")
    return folder / "tags.csv"


def test_a_table_of_image_paths_with_several_labels(tmp_path: Path) -> None:
    data = read(str(photos(tmp_path)), {"task": "multilabel"})
    assert data.spec.kind == "images" and data.spec.classes == ("even", "large", "loop")
    np.testing.assert_array_equal(data.targets, digits()[1][:120, [0, 2, 1]])


def test_a_label_whose_files_cannot_be_read_is_named(tmp_path: Path) -> None:
    source = photos(tmp_path)
    tags = pl.read_csv(source).with_columns(pl.col("tags").fill_null(""))
    tags[7, "tags"] = "rare; large"
    tags.write_csv(source)
    (tmp_path / "7.png").write_bytes(b"no image")
    data = read(str(source), {"task": "multilabel"})
    assert data.spec.classes == ("even", "large", "loop")
    lost = named(data.problems, "empty_class")
    assert lost.where == ("rare",) and "No image of the label rare can be read" in lost.message


def test_check_finds_what_is_wrong_with_labels() -> None:
    x, y = digits()
    y[:, 1] = 0
    x[3], x[4] = x[2], x[2]
    y[3], y[4] = y[2], 1 - y[2]
    y[4, 1] = 0
    _, problems = check((x, y), {})
    found = {p.name: p for p in problems}
    assert found["constant_label"].where == ("target 1",)
    assert set(found["conflicting_labels"].where) == {"row 2", "row 3", "row 4"}
    _, problems = check((x, np.zeros_like(y)), {})
    assert "one_class" in [p.name for p in problems if p.severity == "error"]


# ---------------------------------------------------------------- split


def labelled() -> Data:
    return read(digits(), {})


def test_rare_labels_are_in_every_part() -> None:
    x, y = digits()
    rare = np.zeros(len(y), np.uint8)
    rare[np.random.default_rng(0).choice(len(y), 20, replace=False)] = 1
    data = read((x, np.column_stack([y, rare])), {})
    rows = split.fit_rows(data, {}, 0)
    shares = [data.targets[part].mean(0) for part in (rows.train, rows.validation, rows.held_out)]
    assert all(share[3] > 0 for share in shares)
    folds = [split.fold_rows(data, {}, fold=i, repeat=0, seed=0).held_out for i in range(5)]
    assert {int(data.targets[held][:, 3].sum()) for held in folds} <= {3, 4}
    assert "rarest label" in split.reason(data, {})


# ---------------------------------------------------------------- training


def test_labels_are_learned_kept_and_predicted(tmp_path: Path) -> None:
    x, y = digits()
    run = fw.fit((x, y), settings=QUICK, out=tmp_path / "run")
    assert run.recipe is not None and run.recipe["loss.name"] == "binary_cross_entropy"
    assert run.recipe["score.name"] == "average_precision"
    assert run.scores["test"]["average_precision"] > 0.95
    assert run.scores["test"]["f1"] > 0.9 and run.scores["test"]["hamming_loss"] < 0.1
    again = open_run(tmp_path / "run")
    before, after = run.predictions["test"], again.predictions["test"]
    for name in ("target", "prediction", "probabilities"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    assert before.target.shape[1] == 3 and len(before.target) == len(before.keys)
    said = fw.predict(run, x[:2])
    assert said[0]["prediction"] == ["target 0", "target 1"]  # 0: even, with a loop
    assert said[1]["prediction"] == [] and set(said[1]["probability"]) == {
        f"target {i}" for i in range(3)
    }
    assert fw.evaluate(run)["scores"]["f1"] == pytest.approx(run.scores["test"]["f1"])
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "wrong in at least one label" in page and "precision" in page and "target 2" in page


def test_several_numbers_are_learned_in_their_own_units(tmp_path: Path) -> None:
    settings = {**QUICK, "data.target": "height,price", "train.epochs": 60}
    run = fw.fit(table(), settings=settings, out=tmp_path / "run")
    assert run.recipe is not None and run.recipe["score.name"] == "r2"
    assert run.scores["test"]["r2"] > 0.9
    prediction = fw.predict(run, table()[:1])[0]
    assert (
        set(prediction["prediction"]) == {"height", "price"} and prediction["probability"] is None
    )
    assert abs(prediction["prediction"]["price"] - table()["price"][0]) < 400
    predictions = open_run(tmp_path / "run").predictions["test"]
    assert predictions.target.shape == predictions.prediction.shape == (24, 2)


def test_folds_and_findings_of_several_targets(tmp_path: Path) -> None:
    run = fw.cv(digits(), settings={**QUICK, "data.folds": 3}, out=tmp_path / "labels")
    assert run.predictions["held_out"].target.shape[1] == 3
    names = [finding.name for finding in fw.diagnose(tmp_path / "labels")]
    assert "no_better_than_trivial" not in names
    still = {"optim.lr": 1e-9, "train.epochs": 2, "data.folds": 3, "data.target": "height,price"}
    fw.cv(table(), settings={**QUICK, **still}, out=tmp_path / "numbers")
    found = {f.name: f for f in fw.diagnose(tmp_path / "numbers")}
    assert "standard deviations" in found["no_better_than_trivial"].evidence["metric"]


def test_labels_without_any_training_are_no_better_than_trivial(tmp_path: Path) -> None:
    still = {**QUICK, "optim.lr": 1e-9, "train.epochs": 2, "data.folds": 3}
    fw.cv(digits(), settings=still, out=tmp_path / "run")
    found = {f.name: f for f in fw.diagnose(tmp_path / "run")}
    assert found["no_better_than_trivial"].evidence["metric"] == "hamming_loss"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"loss.name": "cross_entropy"}, "does not suit multilabel"),
        ({"score.name": "accuracy"}, "average_precision, f1, exact_match, hamming_loss"),
        ({"loss.class_weights": "balanced"}, "any number of labels"),
    ],
)
def test_settings_that_do_not_suit_labels(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        fw.fit(digits(), settings={**QUICK, **settings})


@pytest.mark.parametrize("source", ["labels", "numbers"])
def test_reference_models_of_several_targets(source: str) -> None:
    from fitwell.experiments.reference import reference_models

    data = labelled() if source == "labels" else read(table(), {"target": "height,price"})
    rows = split.fold_rows(data, {}, fold=0, repeat=0, seed=0)
    metric = "f1" if source == "labels" else "r2"
    found = {r["model"]: r["held_out"] for r in reference_models(data, rows, metric=metric)}
    lasso = {"lasso"} if source == "numbers" else set()
    assert set(found) == {"trivial", "nearest_neighbour", "linear", "boosted_trees"} | lasso
    assert found["boosted_trees"] > max(0.5, found["trivial"])


@pytest.mark.slow
def test_improve_proves_a_remedy_for_labels(tmp_path: Path) -> None:
    """A rate at which nothing is learned in four epochs: what helps is proved on the folds."""
    sick = {**QUICK, "optim.lr": 1e-4, "train.epochs": 4, "data.folds": 3, "data.limit": 600}
    better = fw.improve(digits(), settings=sick, budget="60s", out=tmp_path / "run")
    assert {v.metric for v in better.verdicts} == {"average_precision"}
    assert "helps" in {v.decision for v in better.verdicts if v.stage == "confirm"}
    before, after = (part["test"]["average_precision"] for part in (better.baseline, better.final))
    assert after > before + 0.1


def test_the_command_line_says_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, run = str(photos(tmp_path)), str(tmp_path / "run")
    given = ["data.task=multilabel", "model.name=mlp", "train.epochs=20", "--out", run]
    assert command(["fit", source, *given, "--quiet"]) == 0
    assert command(["check", source, "data.task=multilabel"]) == 0
    assert "3 labels: even, large, loop" in " ".join(capsys.readouterr().out.split())
    image = str(tmp_path / "0.png")
    assert command(["predict", run, image]) == 0
    assert capsys.readouterr().out.startswith(f"{image}\teven, loop\t0.")
    assert command(["predict", run, image, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["prediction"] == ["even", "loop"]


# ---------------------------------------------------------------- report


def test_labels_with_the_lowest_score_come_first() -> None:
    target = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0]])
    prediction = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]])
    held = Predictions(
        keys=np.array(list("abcd")),
        index=np.arange(4),
        target=target,
        prediction=prediction,
        probabilities=prediction.astype(float),
        loss=np.array([0.1, 0.9, 0.8, 0.1]),
    )
    rows = mistakes.label_rows(held, ["x", "y", "z"])
    assert [row[0] for row in rows] == ["y", "x", "z"]
    assert rows[1][1:4] == (3, 0.75, 1.0) and rows[0][3:] == (0.0, 0.0)
    assert held.wrong.tolist() == [False, True, True, False]
    assert held.worst().tolist() == [1, 2]
    shown = mistakes.examples(held, None, None)
    assert (shown[0].target, shown[0].prediction, shown[0].sure) == ("0, 1", "0", "loss 0.900")


# ---------------------------------------------------------------- a model that exists


def test_a_model_gets_its_targets_in_its_own_order() -> None:
    spec = read(table(), {"target": "height,price"}).spec
    turned = read(
        table().select("price", "c2", "height", "c0", "c1"), {"target": "price,height"}, like=spec
    )
    np.testing.assert_array_equal(
        turned.targets, table().select("height", "price").to_numpy().astype("f")
    )
    assert turned.spec.targets == ("height", "price")
    plain = read(
        (table().select("c0", "c1", "c2"), table().select("price", "height")), {}, like=spec
    )
    np.testing.assert_array_equal(plain.targets, turned.targets)


@pytest.mark.parametrize("columns", [["height"], ["height", "price", "c0"], ["height", "c0"]])
def test_a_model_of_two_targets_refuses_others(columns: list[str]) -> None:
    spec = read(table(), {"target": "height,price"}).spec
    frame, y = table().select("c0", "c1", "c2"), table().select(columns)
    if len(columns) == 1:
        spec = read(table().drop("price"), {"target": "height"}).spec  # a model of one target
        y = table().select("height", "price")
    with pytest.raises(BadData, match="the model predicts") as error:
        read((frame, y), {}, like=spec)
    assert error.value.problems[0].name == "other_targets"


def test_examples_with_one_label_each_stay_labels_for_a_model_of_labels() -> None:
    x, y = digits()
    spec = read((x, y), {}).spec
    single = y.sum(1) == 1
    again = read((x[single], y[single]), {}, like=spec)
    assert again.spec.task == "multilabel"
    np.testing.assert_array_equal(again.targets, y[single])


def test_text_among_columns_is_named_and_none_is_missing() -> None:
    x = np.arange(8.0)[:, None]
    with pytest.raises(BadData, match="target 1 holds text"):
        read((x, np.array([[1, "a"], [0, "b"]] * 4, dtype=object)), {})
    with pytest.raises(BadData, match="missing") as error:
        read((x, np.array([[1, 0], [0, None]] * 4, dtype=object)), {"task": "multilabel"})
    assert error.value.problems[0].where == ("row 1", "row 3", "row 5", "row 7")


@pytest.mark.parametrize(
    ("name", "value"), [("model.waves", 4), ("model.embedding", 3), ("data.scaling", "robust")]
)
def test_settings_of_columns_are_refused_for_images(name: str, value: object) -> None:
    with pytest.raises(SettingError, match="columns of a table") as error:
        fw.fit("digits", model="mlp", settings={name: value})
    assert error.value.setting == name


# ---------------------------------------------------------------- what else looks at targets


def test_a_cleaned_list_of_labels_is_a_source_like_the_first(tmp_path: Path) -> None:
    source = photos(tmp_path)
    (tmp_path / "7.png").write_bytes(b"no image")
    fixed = fw.check(
        source, settings={"data.task": "multilabel"}, fix=True, out=tmp_path / "clean.csv"
    ).fixed
    assert fixed is not None and fixed.left_out["unreadable_files"] == ("7.png",)
    before, after = (read(str(p), {"task": "multilabel"}) for p in (source, fixed.path))
    np.testing.assert_array_equal(after.targets, before.targets)
    assert after.spec.target == before.spec.target == "tags"
    columns = pl.read_csv(source).with_columns(
        *(
            pl.col("tags").fill_null("").str.contains(n).cast(pl.Int8).alias(n)
            for n in ("even", "loop")
        )
    )
    columns.drop("tags").write_csv(source)
    settings = {"data.target": "even,loop"}
    fixed = fw.check(source, settings=settings, fix=True, out=tmp_path / "columns.csv").fixed
    assert fixed is not None
    again = read(str(fixed.path), {"target": "even,loop"})
    np.testing.assert_array_equal(again.targets, read(str(source), {"target": "even,loop"}).targets)


def test_the_contact_sheet_has_a_strip_a_label() -> None:
    from fitwell.report.examples import contact_sheet

    x, y = digits()
    sheet = contact_sheet(read((x, y), {}))
    assert [(s["name"], s["count"]) for s in sheet["strips"]] == [
        (f"target {i}", int(y[:, i].sum())) for i in range(3)
    ]
    shown = [int(key.removeprefix("row ")) for key in sheet["examples"][:8]]
    assert y[shown, 0].all()


def test_two_models_are_compared_by_their_probabilities() -> None:
    from fitwell.metrics import METRICS
    from fitwell.record import Run
    from fitwell.trials.scoring import paired_test

    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, (200, 3)).astype(np.uint8)
    runs, scores = [], []
    for noise in (2.0, 0.6):
        chances = 0.4 / (1 + np.exp(-(target + noise * rng.normal(size=target.shape))))
        held = Predictions(
            keys=np.arange(200).astype(str),
            index=np.arange(200),
            target=target,
            prediction=(chances >= 0.5).astype(np.uint8),  # never: only the order tells
            probabilities=chances,
            loss=np.zeros(200),
        )
        runs.append(Run(predictions={"test": held}))
        scores.append(METRICS["average_precision"](target, held.prediction, chances))
    recipe = complete({}, labelled().spec)
    found = paired_test(runs[0], runs[1], recipe)
    assert found["effect"] == pytest.approx(scores[1] - scores[0]) and found["low"] > 0.1


def test_a_head_of_other_numbers_is_not_taken_over(tmp_path: Path) -> None:
    settings = {**QUICK, "data.target": "height,price", "train.epochs": 1}
    fw.fit(table(), settings=settings, out=tmp_path / "first")
    start = {**settings, "model.pretrained": str(tmp_path / "first")}
    same = fw.fit(table(), settings=start)
    other = fw.fit(
        table().rename({"price": "cost"}), settings={**start, "data.target": "height,cost"}
    )
    loaded = [[n for row in run.evidence for n in row.get("loaded", ())] for run in (same, other)]
    assert "head.weight" in loaded[0] and "head.weight" not in loaded[1] and loaded[1]


def test_the_noise_of_explained_variance_is_that_of_numbers() -> None:
    from fitwell.findings.fit import _noise
    from fitwell.record import Run

    rng = np.random.default_rng(0)
    target = rng.normal(size=(50, 2))
    held = Predictions(
        keys=np.arange(50).astype(str),
        index=np.arange(50),
        target=target,
        prediction=target + 0.1,
        probabilities=None,
        loss=rng.random(50),
    )
    run = Run(
        predictions={"validation": held}, epochs=[{"validation": {"loss": 1.0, "r2": 0.5}}] * 3
    )
    assert _noise(run, "r2")[0] == pytest.approx(2 / 100**0.5)  # two standard errors, 1 / sqrt(2 n)
