"""Filters, feature maps and Grad-CAM of a run: on disk, on the command line and in the report."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import report_fakes as fakes
import torch
from PIL import Image
from torch import nn

import fitwell as fw
from fitwell import store
from fitwell.cli.main import run as command
from fitwell.data import read
from fitwell.errors import FolderError, SettingError
from fitwell.pictures import learned as pictures
from fitwell.probes import gradcam
from fitwell.probes.feature_maps import Stage
from fitwell.report import pixels, sheet
from fitwell.report.facts import gather
from fitwell.report.html import errors, write_report
from fitwell.train import load_model

Document = dict[str, Any]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeNet on digits, stopped early enough to make mistakes."""
    place = tmp_path_factory.mktemp("pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FITWELL_CACHE", str(place / "cache"))
        fw.fit("digits", model="lenet", settings={"train.epochs": 2}, out=place / "run")
    return place / "run"


def test_show_filters_writes_two_sheets_and_lists_them(
    fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["show", str(fitted), "--filters", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["parameters"] == 21386
    names = ["filters", "feature_maps"]
    assert [p["name"] for p in said["pictures"]] == names
    paths = [fitted / "pictures" / f"{name}.png" for name in names]
    assert [Path(p["path"]) for p in said["pictures"]] == paths
    assert all(p["layers"] == ["conv1", "conv2"] for p in said["pictures"])
    before = [path.read_bytes() for path in paths]
    for path in paths:
        assert Image.open(path).width == 8 * 144
    assert command(["show", str(fitted), "--filters"]) == 0
    said = capsys.readouterr()
    assert all(path.as_posix() in said.out for path in paths) and said.err == ""
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.filterwarnings("default:No feature maps")
def test_without_its_data_a_run_shows_filters_and_says_why_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 3, 8, 8), np.uint8)
    settings = {"train.epochs": 1, "train.batch_size": 16}
    run = fw.fit(
        (images, np.arange(60) % 3), model="lenet", settings=settings, out=tmp_path / "run"
    )
    assert len(fw.show(run, filters=True)["pictures"]) == 2  # the data is still in memory
    with pytest.warns(UserWarning, match="No feature maps: the run was trained on data in memory"):
        found = fw.show(fw.open(tmp_path / "run"), filters=True)["pictures"]
    assert [p["name"] for p in found] == ["filters"]
    assert command(["show", str(tmp_path / "run"), "--filters"]) == 0
    assert "Note: No feature maps" in capsys.readouterr().err


def test_what_has_no_filters_is_refused(fitted: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="belong to a run"):
        fw.show("digits", filters=True)
    with pytest.raises(SettingError, match="and no setting"):
        fw.show(fitted, model="convnet", filters=True)
    fw.fit("wine", model="mlp", settings={"train.epochs": 1}, out=tmp_path / "mlp")
    with pytest.raises(SettingError, match="mlp has no 2-dimensional convolution"):
        fw.show(tmp_path / "mlp", filters=True)
    shutil.copytree(fitted, tmp_path / "bare")
    (tmp_path / "bare" / "best.safetensors").unlink()
    with pytest.raises(FolderError, match="no weights"):
        fw.show(tmp_path / "bare", filters=True)


def test_filter_panels_hold_the_weights() -> None:
    zoom = pictures.ZOOM
    first = nn.Conv2d(3, 5, 3)
    panel = pictures.filter_panel("first", first)
    weight = first.weight.detach().numpy()
    expected = 0.5 + 0.5 * weight[1, :, 2, 0] / np.abs(weight).max()
    np.testing.assert_allclose(panel.image[2 * zoom, 3 * zoom + 1], expected, atol=1e-6)
    assert "5 filters of 3 × 3 × 3" in panel.title

    deep = nn.Conv2d(20, 40, 1)
    with torch.no_grad():
        deep.weight[3, 7] = deep.weight.abs().max() * 2
    panel = pictures.filter_panel("deep", deep)
    assert panel.image.shape == (8 * zoom, 16 * zoom, 3)
    np.testing.assert_allclose(
        panel.image[7 * zoom, 3 * zoom], sheet.signed(np.array(1.0)), atol=1e-6
    )
    assert panel.title.endswith("the first 16 filters, the first 8 channels")

    depthwise = pictures.filter_panel("depthwise", nn.Conv2d(6, 6, 3, groups=6))
    assert depthwise.image.shape == (3 * zoom, 6 * (3 * zoom + 1) - 1, 3)


def test_a_sheet_takes_names_in_any_script_and_gives_equal_files(tmp_path: Path) -> None:
    panel = sheet.Panel("层 $x$", "注", np.zeros((4, 900, 3)), 1.0)
    files = [tmp_path / name for name in "ab"]
    for file in files:
        sheet.Sheet("标题", [panel, panel], ["一行"]).write(file)
    assert files[0].read_bytes() == files[1].read_bytes()
    drawn = np.asarray(Image.open(files[0]).convert("L"))
    assert drawn.shape[1] == 8 * 144 and (drawn[:, -30:] == 255).all()  # fits into the margins


def test_map_panels_show_the_channels_that_differ_most() -> None:
    maps = torch.zeros(2, 20, 4, 4)
    maps[1, 3:15, 0, 0] = 1.0
    images = np.zeros((2, 1, 8, 8), np.uint8)
    panel = pictures.map_panel(Stage("conv", "relu", maps), images)
    assert panel.title == "conv with relu: 20 maps of 4 × 4"
    assert panel.note.startswith("channels 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14 (those that")
    side = pictures.TILE + 2
    np.testing.assert_allclose(panel.image[side, side], sheet.signed(np.array(1.0)))
    np.testing.assert_allclose(panel.image[0, side], 1.0)


def test_large_networks_are_shown_in_part() -> None:
    kept = pictures.evenly(range(53), pictures.MOST_LAYERS)
    assert len(kept) == pictures.MOST_LAYERS and kept[0] == 0 and kept[-1] == 52
    assert kept == sorted(set(kept))


def gradcam_rows(run: Any) -> list[Document]:
    return [row for row in run.evidence if row["experiment"] == "gradcam"]


def test_a_fit_explains_its_most_confident_mistakes_with_its_own_weights(fitted: Path) -> None:
    run = store.open_run(fitted)
    predictions = run.predictions["validation"]
    worst, rows = predictions.worst(), gradcam_rows(run)
    assert 3 < len(rows) == len(worst) <= 24
    assert [r["key"] for r in rows] == list(predictions.keys[worst])
    assert [r["class"] for r in rows] == list(predictions.prediction[worst])
    model, preprocess = load_model(run)
    images = read("digits").inputs[predictions.index[worst]]
    classes = torch.from_numpy(predictions.prediction[worst])
    found = gradcam(model, torch.from_numpy(preprocess.inputs(images)), classes)
    assert found is not None and {r["layer"] for r in rows} == {found.layer}
    shares = found.maps / found.maps.amax((1, 2), keepdim=True).clamp_min(1e-30)
    np.testing.assert_allclose([r["map"] for r in rows], shares, atol=0.006)
    assert max(np.max(r["map"]) for r in rows) == 1


def test_folds_explain_their_own_and_the_report_shows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "cache"))
    settings = {"train.epochs": 1, "data.folds": 2, "data.limit": 200}
    run = fw.cv("digits", model="lenet", settings=settings, out=tmp_path / "cv")
    rows = [row for trial in run.trials for row in gradcam_rows(trial)]
    assert len({row["key"] for row in rows}) == len(rows) > 24
    page = (tmp_path / "cv" / "report.html").read_text()
    assert page.count('alt="Grad-CAM for ') == 24
    (tmp_path / "cv" / "report.html").unlink()
    fw.resume(tmp_path / "cv", examples=False)
    page = (tmp_path / "cv" / "report.html").read_text()
    assert "Grad-CAM" not in page and "data:image/png" not in page


def test_tables_numbers_and_networks_without_maps_have_none(tmp_path: Path) -> None:
    settings = {"train.epochs": 1, "data.limit": 120}
    assert not gradcam_rows(fw.fit("wine", settings=settings, out=tmp_path / "table"))
    assert not gradcam_rows(fw.fit("digits", model="mlp", settings=settings, out=tmp_path / "mlp"))
    images = np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8), np.uint8)
    numbers = (images, images.mean((1, 2, 3)))
    run = fw.fit(numbers, model="lenet", settings={"train.epochs": 1}, out=tmp_path / "numbers")
    assert not gradcam_rows(run)


def explained(data: Any, value: float) -> fakes.FakeImprovement:
    result = fakes.improvement(data=data)
    for run in result.final_folds:
        run.evidence = [
            {
                "experiment": "gradcam",
                "key": str(data.keys[index]),
                "index": int(index),
                "class": 0,
                "layer": "stage<2>",
                "map": [[value, 0.0], [0.0, 0.0], [0.0, 0.0]],
            }
            for index in run.predictions["held_out"].index
        ]
    return result


def test_the_report_lays_the_map_over_the_picture_and_names_the_layer(tmp_path: Path) -> None:
    data = fakes.digits()
    path = write_report(explained(data, 1.0), tmp_path / "a.html", data=data)
    page = path.read_text()
    shown = page.count('alt="Grad-CAM for ')
    assert shown == page.count('alt="row ') > 5
    assert "Grad-CAM of layer <code>stage&lt;2&gt;</code>, 3 × 2 places" in page
    assert "found no such place" not in page
    again = write_report(explained(data, 1.0), tmp_path / "b.html", data=data)
    assert again.read_bytes() == path.read_bytes()
    hidden = write_report(explained(data, 1.0), tmp_path / "c.html", data=data, examples=False)
    assert "Grad-CAM" not in hidden.read_text()


def test_an_empty_map_is_said_and_without_a_picture_there_is_no_map() -> None:
    data = fakes.digits()
    found = errors(gather(explained(data, 0.0)), data, True)
    assert found["blank"] == len(found["examples"]) > 5
    found = errors(gather(explained(data, 1.0)), None, True)
    assert not found["looked"] and not any(e.looked for e in found["examples"])


def test_an_overlay_is_grey_where_the_map_is_zero_and_coloured_where_it_is_not() -> None:
    import base64
    import io

    image = np.full((3, 8, 8), 100, np.uint8)
    uri = pixels.overlay(image, [[1.0, 0.0], [0.0, 0.0]])
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
    assert drawn.shape == (96, 96, 3)
    assert (drawn[-1, -1] == 100).all()
    strongest = 100 * (1 - pixels.STRONGEST) + pixels.HEAT * pixels.STRONGEST
    np.testing.assert_allclose(drawn[0, 0], strongest, atol=1)
