"""Detection end to end: a network of a few thousand boxes' worth of steps on drawn rectangles."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_boxes import scenes, write_voc
from PIL import Image
from rich.console import Console

import fitwell as fw
from fitwell.cli.main import run as command_line
from fitwell.data import read
from fitwell.errors import FolderError, SettingError
from fitwell.metrics import METRICS
from fitwell.pictures.found import draw_found
from fitwell.predict import _said
from fitwell.report import terminal
from fitwell.resolve import complete
from fitwell.spec import Spec
from fitwell.tasks import Decoded
from fitwell.trials.reading import read_for
from fitwell.trials.trial import Task, run_trial

box_map = METRICS["map"]
BOXES = Spec("boxes", "detection", (3, 96, 96), ("cat", "dog"), num_examples=300)
SMALL = {
    "data.image_size": 64,
    "train.epochs": 2,
    "train.batch_size": 4,
    "train.precision": "float32",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voc(tmp_path_factory.mktemp("boxes") / "things", scenes(10))


@pytest.fixture(scope="module")
def run(folder: Path) -> Any:
    return fw.fit(str(folder), settings=SMALL, out=folder.parent / "run")


def test_fit_scores_writes_and_opens_again(run: Any) -> None:
    assert set(run.scores["test"]) == {"loss", "map50", "map"}
    kept = fw.open(run.folder).predictions["validation"]
    asked = run.predictions["validation"]
    assert kept.target.shape == asked.target.shape and kept.prediction.shape[1:] == (300, 6)
    np.testing.assert_array_equal(kept.prediction, asked.prediction)
    page = (run.folder / "report.html").read_text()
    assert "What it finds" in page and "What it loses by" in page
    assert "The worst mistakes" in page and "Missed" in page
    assert '<figure><img src="data:image/jpeg' in page


def test_evidence_tells_classes_sizes_and_mistakes(run: Any) -> None:
    (row,) = (row for row in run.evidence if row["experiment"] == "boxes")
    assert [one["name"] for one in row["classes"]] == list(run.spec.classes)
    assert set(row["lost"]) == {"wrong class", "badly placed", "doubled", "background", "missed"}


def test_the_terminal_tells_classes_and_mistakes(run: Any) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(terminal.run(run))
    said = console.export_text()
    assert all(
        name in said
        for name in ("class or size, held out", "small, below", "cat", "mAP50 lost to mistakes")
    )
    assert all(len(line) <= 80 for line in said.splitlines() if str(run.folder) not in line)


def test_evaluate_gives_the_run_s_own_test_scores(run: Any) -> None:
    found = fw.evaluate(run.folder)
    assert found["scores"]["map50"] == pytest.approx(run.scores["test"]["map50"])


def test_evaluate_tells_classes_sizes_and_mistakes(
    run: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a source of its own, too: there the classes' mean is the score."""
    found = fw.evaluate(run.folder, str(folder))
    assert [one["name"] for one in found["classes"]] == list(run.spec.classes)
    assert sum(one["boxes"] for one in found["classes"]) == sum(run.spec.class_counts)
    for name in ("map50", "map"):
        scores = [one[name] for one in found["classes"]]
        assert np.mean(scores) == pytest.approx(found["scores"][name])
    assert [one["name"] for one in found["sizes"]] == ["small", "medium", "large"]
    assert set(found["lost"]) == {"wrong class", "badly placed", "doubled", "background", "missed"}
    assert command_line(["evaluate", str(run.folder), str(folder)]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("class or size", "cat", "small, below", "mAP50 lost to"))
    assert command_line(["evaluate", str(run.folder), str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"] == found["classes"]


def test_predict_draws_and_writes_what_it_returns(run: Any, folder: Path, tmp_path: Path) -> None:
    rows = fw.predict(run.folder, [str(folder / "JPEGImages")], out=tmp_path / "said")
    assert len(rows) == 10 == len(list((tmp_path / "said").glob("*.jpg")))
    assert json.loads((tmp_path / "said" / "predictions.json").read_text()) == rows
    with pytest.raises(FolderError, match="holds something"):
        fw.predict(run.folder, [str(folder / "JPEGImages")], out=tmp_path / "said")


def test_pictures_are_drawn_as_the_model_sees_them(tmp_path: Path) -> None:
    """Of 16 bits, of which 8 are left, or with parts that are see-through, before white."""
    grey = np.full((40, 60), 20_000, np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    clear = np.zeros((40, 60, 4), np.uint8)
    Image.fromarray(clear, "RGBA").save(tmp_path / "clear.png")
    names = ("deep.png", "clear.png")
    rows = [{"input": str(tmp_path / n), "prediction": [], "probability": []} for n in names]
    draw_found(rows, ("cat",), tmp_path / "said")
    for name, want in (("deep", 20_000 / 257), ("clear", 255)):
        drawn = np.asarray(Image.open(tmp_path / "said" / f"{name}.jpg"))
        assert drawn.shape == (40, 60, 3) and abs(drawn.mean() - want) < 2


def test_no_drawn_picture_takes_the_name_of_another(tmp_path: Path) -> None:
    names = ("a/x.png", "b/x.png", "a/x-2.png", "b/X.png")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 20)).save(tmp_path / name)
    rows = [{"input": str(tmp_path / n), "prediction": [], "probability": []} for n in names]
    draw_found(rows, ("cat",), tmp_path / "said")
    drawn = [path.name.lower() for path in (tmp_path / "said").glob("*.jpg")]
    assert sorted(drawn) == ["x-2-2.jpg", "x-2.jpg", "x-3.jpg", "x.jpg"]


def test_no_box_is_told_of_the_grey_beside_a_picture() -> None:
    """A picture of 10:1 is a strip: what is found above it alone has no area in it."""
    inside, above = [0.0, 1, 2, 9, 8, 0.9], [0.0, 1, 0, 9, 0, 0.8]
    said = np.array([[inside, above, [np.nan] * 6]], np.float32)
    boxes, scores = _said(Decoded(said, None), 0, BOXES)
    assert boxes == [{"class": "cat", "box": [1, 2, 9, 8]}] and scores == [0.9]


def test_diagnose_and_resume_are_at_home_with_boxes(run: Any) -> None:
    fw.diagnose(run.folder)
    assert fw.resume(run.folder).scores == run.scores


def test_cross_validation_joins_boxes(folder: Path, tmp_path: Path) -> None:
    settings = {**SMALL, "data.folds": 2, "train.epochs": 1, "train.batch_size": 2}
    run = fw.cv(str(folder), settings=settings, out=tmp_path / "cv")
    assert len(run.predictions["held_out"].target) + 1 == 10  # one is the test part
    assert [row["experiment"] for row in run.evidence] == ["boxes"]


def test_a_trial_reads_its_pictures_at_its_own_size(folder: Path, tmp_path: Path) -> None:
    """The same pictures, boxes and folds; only the pixels are more."""
    data = read(str(folder), {"image_size": 64})
    short = {"train.epochs": 1, "train.batch_size": 2, "data.folds": 2}
    recipe = complete({**SMALL, **short, "source": str(folder)}, data.spec)
    larger = recipe.edit({"data.image_size": 96})
    assert read_for(data, recipe) is data
    seen = read_for(data, larger)
    assert seen.inputs.shape == (10, 3, 96, 96) and seen.spec.input_shape == (3, 96, 96)
    np.testing.assert_array_equal(seen.keys, data.keys)
    np.testing.assert_allclose(seen.targets, data.targets * [1, 1.5, 1.5, 1.5, 1.5], atol=1.1)
    runs = [
        run_trial(data, Task(each, fold=1), tmp_path / str(i), threads=1)
        for i, each in enumerate((recipe, larger))
    ]
    asked = [run.predictions["held_out"] for run in runs]
    assert runs[1].spec is not None and runs[1].spec.input_shape == (3, 96, 96)
    np.testing.assert_array_equal(asked[0].keys, asked[1].keys)
    np.testing.assert_allclose(asked[1].target, asked[0].target * [1, 1.5, 1.5, 1.5, 1.5], atol=1.1)
    gone = recipe.edit({"data.image_size": 96, "source": str(tmp_path / "nothing")})
    failed = run_trial(data, Task(gone), tmp_path / "gone", threads=1)
    assert failed.status == "failed" and "nothing" in failed.failure


def test_a_score_is_the_same_at_every_size(run: Any) -> None:
    """So that trials at two sizes are compared as they are."""
    held = run.predictions["validation"]
    said = held.target[..., [0, 1, 2, 3, 4, 4]].copy()
    said[..., 1] += 2.0  # a little beside
    said[..., 5] = np.linspace(0.9, 0.5, said.shape[1])
    here = box_map(held.target, said)
    scale = np.array([1, 2.5, 2.5, 2.5, 2.5, 1])
    assert 0 < here < 1 and box_map(held.target * scale[:5], said * scale) == pytest.approx(here)


def test_the_command_line_prints_counts(run: Any, folder: Path, capsys: Any) -> None:
    path = str(folder / "JPEGImages" / "p0.png")
    assert command_line(["predict", str(run.folder), path, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["input"] == path and len(row["prediction"]) == len(row["probability"])
    assert command_line(["predict", str(run.folder), path]) == 0
    assert capsys.readouterr().out.startswith(path)


def test_a_picture_s_boxes_are_told_in_its_own_pixels(run: Any, folder: Path) -> None:
    """Annotated boxes, as the model has them, come back where they were drawn."""
    from fitwell.data.inputs import read_inputs
    from fitwell.data.letterbox import letterbox
    from fitwell.predict import _in_pictures

    found = read_inputs(str(folder / "JPEGImages"), run.spec)
    data = read(str(folder), {"image_size": 64})
    place = {Path(key).name: i for i, key in enumerate(data.keys)}
    rows = [place[Path(key).name] for key in found.keys]
    np.testing.assert_array_equal(found.inputs, data.inputs[rows])
    drawn = {scene.name: scene for scene in scenes(10)}
    told = np.pad(data.targets[rows], ((0, 0), (0, 0), (0, 1)))
    back = _in_pictures(told, found, run.spec)
    for key, boxes, size in zip(found.keys, back, found.sizes, strict=True):
        scene = drawn[Path(key).stem]
        assert size == scene.size[::-1] and letterbox(size, (64, 64)).size == size
        want = np.array([box[1:] for box in scene.boxes])
        np.testing.assert_allclose(boxes[: len(want), 1:5], want, atol=0.01)


def test_defaults_are_a_detector_s() -> None:
    recipe = complete({}, BOXES)
    assert (recipe["model.name"], recipe["loss.name"], recipe["score.name"]) == (
        "yolo",
        "boxes",
        "map50",
    )
    assert recipe["train.batch_size"] == 16 and recipe["augment.mosaic"] == 0.5
    assert complete({"augment.policy": "none"}, BOXES)["augment.mosaic"] == 0


@pytest.mark.parametrize(
    ("settings", "spec", "said"),
    [
        ({"model.name": "resnet"}, BOXES, r"finds no boxes.*model\.name=yolo"),
        ({"model.name": "yolo"}, Spec("images", "regression", (3, 64, 64)), "finds boxes"),
        ({"loss.name": "mse"}, BOXES, "Choose one of: boxes"),
        ({"score.name": "accuracy"}, BOXES, "map50, map"),
        ({"augment.mosaic": 0.5}, Spec("images", "regression", (3, 64, 64)), "pictures with boxes"),
    ],
)
def test_what_does_not_suit_boxes_is_refused(settings: Any, spec: Spec, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        complete(settings, spec)


def test_scores_need_their_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faster_coco_eval", None)
    with pytest.raises(SettingError, match=r"fitwell\[detection\]"):
        complete({}, BOXES)
