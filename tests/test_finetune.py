"""Fine-tuning: what moves and what stands still, at which rate, from which weights."""

import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fitwell import data as fitwell_data
from fitwell import store
from fitwell.data import split
from fitwell.data.types import Data
from fitwell.errors import DataError, FitwellError, Interrupted, SettingError
from fitwell.findings import diagnose
from fitwell.models import build
from fitwell.optim import OPTIMIZERS, parameter_groups
from fitwell.options import fine_tuning
from fitwell.recipe import Recipe
from fitwell.record import Run
from fitwell.resolve import complete
from fitwell.spec import Spec
from fitwell.train import fit, load_model, resume, train_once
from fitwell.train.finetune import RATE, depths, with_rates
from fitwell.train.job import build_job, check_buildable
from fitwell.weights import load

SMALL = {
    "model.name": "convnet",
    "model.width": 4,
    "train.precision": "float32",
    "optim.name": "sgd",
    "optim.lr": 0.02,
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the digits below 8."""
    data = fitwell_data.read("digits", {})
    few = data.targets < 8
    data = fitwell_data.read((data.inputs[few], data.targets[few]), {})
    recipe = complete({**SMALL, "train.epochs": 3}, data.spec)
    rows = split.fit_rows(data, recipe.section("data"), 0)
    folder = tmp_path_factory.mktemp("runs") / "source"
    train_once(data, rows, recipe, folder=folder, threads=1)
    return folder


@pytest.fixture(scope="module")
def target() -> Data:
    """300 digits, to be told apart by what remains of a division by 3."""
    data = fitwell_data.read("digits", {})
    return fitwell_data.read((data.inputs[:300], data.targets[:300] % 3), {})


def tuned(target: Data, source: Path, folder: Path | None = None, **settings: Any) -> Run:
    recipe = recipe_for(target, source, **settings)
    rows = split.fit_rows(target, recipe.section("data"), 0)
    return train_once(target, rows, recipe, folder=folder, threads=1)


def recipe_for(target: Data, source: Path, **settings: Any) -> Recipe:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return complete(
        {**SMALL, "model.pretrained": str(source), "train.epochs": 2, **named}, target.spec
    )


def moved(run: Run, source: Path) -> set[str]:
    """The layers of which a parameter or buffer (counts apart) differs from the source's."""
    assert run.folder is not None
    before, after = load(source), load(run.folder)
    same_shape = {n for n in after if after[n].shape == before[n].shape}
    changed = {n for n in same_shape if not torch.equal(before[n], after[n])}
    return {n.partition(".")[0] for n in changed | (set(after) - same_shape)}


LAYERS = {"conv1", "norm1", "conv2", "norm2", "linear3", "norm3", "head"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, LAYERS),
        ({"train__freeze": 1.0}, {"head"}),
        ({"train__freeze": 0.5}, {"linear3", "norm3", "head"}),
        ({"train__freeze": 0.1}, LAYERS - {"conv1", "norm1"}),
        # Two epochs of a thaw over four: the head alone, then what lies above 0.75.
        ({"train__thaw_epochs": 4}, {"head"}),
        ({"train__thaw_epochs": 3}, {"linear3", "norm3", "head"}),
        ({"train__thaw_epochs": 1}, LAYERS),
        ({"train__thaw_epochs": 1, "train__freeze": 0.5}, {"linear3", "norm3", "head"}),
    ],
)
def test_what_is_frozen_moves_by_no_bit(
    target: Data, source: Path, tmp_path: Path, settings: dict[str, Any], expected: set[str]
) -> None:
    # Decay, momentum, an averaged copy, running statistics: nothing of it may reach what is frozen.
    run = tuned(
        target, source, tmp_path / "run", optim__weight_decay=0.05, train__ema=0.5, **settings
    )
    assert moved(run, source) == expected


MODES: dict[str, dict[str, Any]] = {
    "frozen": {"train__freeze": 1.0},
    "rates": {"train__first_lr": 0.1, "train__backbone_lr": 0.5},
    "gradual": {"train__thaw_epochs": 2},
    "all of it": {"train__freeze": 0.1, "train__first_lr": 0.1, "train__thaw_epochs": 2},
}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("mode", MODES)
def test_going_on_ends_in_the_same_weights(
    target: Data,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    optimizer: str,
) -> None:
    lent = tmp_path / "lent"
    shutil.copytree(source, lent)
    settings = {**MODES[mode], "train__epochs": 4, "optim__name": optimizer, "train__ema": 0.5}
    whole = tuned(target, lent, tmp_path / "whole", **settings)
    recipe = recipe_for(target, lent, **settings)
    rows = split.fit_rows(target, recipe.section("data"), 0)
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", 0.0)
    steps = len(whole.steps) // 4
    asked = 0

    def stop(_: object) -> bool:
        nonlocal asked
        asked += 1
        return asked > steps + 3  # within the second epoch

    with monkeypatch.context() as patched:
        patched.setattr(fit, "_stop_requested", lambda: _within(lambda: stop(None)))
        with pytest.raises(Interrupted):
            train_once(target, rows, recipe, folder=tmp_path / "cut", threads=1)
    shutil.rmtree(lent)  # a run that goes on needs what it was started from no more
    done = resume(tmp_path / "cut", target, rows)
    assert [r["loss"] for r in done.steps] == [r["loss"] for r in whole.steps]
    kept, expected = load(tmp_path / "cut"), load(tmp_path / "whole")
    assert all(torch.equal(kept[name], expected[name]) for name in expected)
    assert done.scores == whole.scores
    assert load_model(done)[1].mean == load_model(whole)[1].mean


def _within(stop: Any) -> Any:
    from contextlib import nullcontext

    return nullcontext(stop)


def test_depth_counts_layers_with_weights_from_the_input() -> None:
    model = build("convnet", Spec("images", "classification", (1, 8, 8), ("a", "b")), {})
    depth = depths(model)
    assert [depth[n] for n in ("conv1", "norm1", "conv2", "linear3", "norm3", "head")] == [
        pytest.approx(v) for v in (0, 0, 1 / 3, 2 / 3, 2 / 3, 1)
    ]
    assert depths(nn.Linear(2, 1)) == {"": 1.0}


@pytest.mark.parametrize(
    ("rates", "shares"),
    [
        ({"first_lr": 0.001}, {"conv1": 0.001, "norm1": 0.001, "conv2": 0.01, "linear3": 0.1}),
        ({"first_lr": 1.0, "backbone_lr": 0.2}, {"conv1": 0.2, "norm1": 0.2, "linear3": 0.2}),
        ({"first_lr": 0.001, "backbone_lr": 0.2}, {"conv1": 0.0002, "linear3": 0.02}),
    ],
)
def test_each_layer_takes_its_share_of_the_rate(
    target: Data, source: Path, rates: dict[str, float], shares: dict[str, float]
) -> None:
    settings: dict[str, Any] = {f"train__{name}": value for name, value in rates.items()}
    settings |= {"optim__momentum": 0.0, "schedule__name": "constant"}
    shares = {**shares, "head": 1.0}
    recipe = recipe_for(target, source, **settings, optim__weight_decay=0.0)
    rows = split.fit_rows(target, recipe.section("data"), 0)
    job = build_job(target, rows, recipe, seed=0)
    names = [name for group in job.optimizer.param_groups for name in group["names"]]
    assert sorted(names) == sorted(n for n, _ in job.model.named_parameters())
    before = {n: p.detach().clone() for n, p in job.model.named_parameters()}
    job.start_epoch(0)
    job.set_lr(0.5)
    batch = next(iter(job.batches.epoch(0)))
    job.loss(job.model(batch.x), batch.y).mean().backward()
    gradients = {n: p.grad.clone() for n, p in job.model.named_parameters() if p.grad is not None}
    job.step()
    for name, parameter in job.model.named_parameters():
        share = shares.get(name.partition(".")[0])
        if share is not None:
            expected = before[name] - 0.5 * share * gradients[name]
            torch.testing.assert_close(parameter.detach(), expected)


def test_muon_keeps_the_head_apart_whatever_the_rates() -> None:
    """The head is what AdamW takes, and a step is the share of the rate times what it was."""
    spec = Spec("images", "classification", (1, 8, 8), ("a", "b"))
    moved = []
    for first_lr in (1.0, 0.01):
        torch.manual_seed(0)
        model = build("convnet", spec, {"width": 4}).double()
        groups = with_rates(parameter_groups(model, 0.0), model, first_lr)
        optimizer = OPTIMIZERS["muon"](groups, lr=1.0, weight_decay=0.0)
        hidden = [n for g in optimizer.param_groups if g["hidden"] for n in g["names"]]
        assert hidden == ["conv1.weight", "conv2.weight", "linear3.weight"]
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * group.get(RATE, 1.0)
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        model(torch.randn(4, 1, 8, 8).double()).square().sum().backward()
        optimizer.step()
        moved.append({n: p.detach() - before[n] for n, p in model.named_parameters()})
    for name, share in {
        "conv1.weight": 0.01,
        "linear3.weight": 0.01 ** (1 / 3),
        "head.weight": 1,
    }.items():
        assert moved[0][name].any()
        torch.testing.assert_close(moved[1][name], share * moved[0][name])


def test_without_fine_tuning_groups_and_gradients_are_as_ever(target: Data, source: Path) -> None:
    recipe = recipe_for(target, source, train__first_lr=1.0)
    rows = split.fit_rows(target, recipe.section("data"), 0)
    job = build_job(target, rows, recipe, seed=0)
    assert job.freezing is None and len(job.optimizer.param_groups) == 2
    assert not any(RATE in group for group in job.optimizer.param_groups)


def test_a_builders_own_frozen_parameters_stay_frozen(target: Data) -> None:
    from fitwell.train.finetune import Freezing

    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1))
    model[1].weight.requires_grad_(False)  # type: ignore[union-attr, operator]
    freezing = Freezing.of(model, 0.0, 2)
    for epoch in range(4):
        freezing.start_epoch(epoch)
        trained = [name for name, p in model.named_parameters() if p.requires_grad]
        expected = ["2.weight", "2.bias"]
        if epoch >= 1:
            expected = ["1.bias", *expected]
        if epoch >= 2:
            expected = ["0.weight", "0.bias", *expected]
        assert trained == expected, epoch


def test_the_start_is_the_source_and_its_normalisation(target: Data, source: Path) -> None:
    recipe = recipe_for(target, source)
    rows = split.fit_rows(target, recipe.section("data"), 0)
    job = build_job(target, rows, recipe, seed=0)
    assert job.fitted is not None and job.fitted.new == ("head.weight", "head.bias")
    weights = load(source)
    for name, tensor in job.model.state_dict().items():
        assert torch.equal(tensor, weights[name]) == (not name.startswith("head")), name
    preprocess = store.read_json(source / "preprocess" / "preprocess.json")
    assert list(job.preprocess.mean) == preprocess["mean"]
    own = build_job(target, rows, recipe.edit({"data.normalise": "train"}), seed=0)
    assert own.preprocess.mean != job.preprocess.mean
    weights_alone = recipe.edit({"model.pretrained": str(source / "best.safetensors")})
    assert build_job(target, rows, weights_alone, seed=0).preprocess == job.preprocess
    run = tuned(target, source, train__epochs=1)
    (row,) = [r for r in run.evidence if r["experiment"] == "pretrained"]
    assert row["new"] == ("head.weight", "head.bias") and "conv1.weight" in row["loaded"]


def test_the_head_of_other_classes_is_new_though_it_would_fit(source: Path) -> None:
    # As many classes, others: the old head would start sure of the wrong answers.
    digits = fitwell_data.read("digits", {})
    for classes, new in ((slice(0, 8), ()), (slice(2, 10), ("head.weight", "head.bias"))):
        few = np.isin(digits.targets, range(10)[classes])
        data = fitwell_data.read((digits.inputs[few], digits.targets[few]), {})
        rows = split.fit_rows(data, recipe_for(data, source).section("data"), 0)
        job = build_job(data, rows, recipe_for(data, source), seed=0)
        assert job.fitted is not None and job.fitted.new == new


@pytest.mark.parametrize("channels", [1, 3])
def test_weights_of_unknown_origin_take_imagenets_normalisation(
    source: Path, tmp_path: Path, channels: int
) -> None:
    shutil.copy(source / "best.safetensors", path := tmp_path / "weights.safetensors")
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 256, (60, channels, 8, 8), dtype=np.uint8)
    y = np.arange(60) % 2

    def prepared(x: np.ndarray) -> Tensor:
        data = fitwell_data.read((x, y), {})
        from fitwell.data import preprocess
        from fitwell.weights import moments

        rows = np.arange(60)
        fitted = preprocess.fit(data, rows, moments(str(path), data, rows, model="convnet"))
        return torch.from_numpy(fitted.inputs(data.inputs))

    from torchvision.transforms.functional import normalize

    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    if channels == 1:
        mean, std = mean.mean()[None], std.mean()[None]
    expected = normalize(torch.from_numpy(whole) / 255, mean.tolist(), std.tolist())
    torch.testing.assert_close(prepared(whole), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        prepared((whole / 255).astype(np.float32)), expected, atol=1e-5, rtol=1e-5
    )
    with pytest.raises(SettingError, match="from 0 to 1, and these are of another range"):
        prepared(whole.astype(np.float32))


def test_a_runs_normalisation_is_taken_over_in_the_unit_of_the_data(tmp_path: Path) -> None:
    from fitwell.data import preprocess
    from fitwell.weights import moments

    rng = np.random.default_rng(0)
    rows = np.arange(60)
    whole = rng.integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
    shares = (whole / 255).astype(np.float32)

    def read(x: np.ndarray) -> Data:
        return fitwell_data.read((x, rows % 2), {})

    def run_on(x: np.ndarray, name: str) -> str:
        store.write_json(tmp_path / name / "format", 1)
        path = tmp_path / name / "preprocess" / "preprocess.json"
        store.write_json(path, preprocess.fit(read(x), rows).to_json())
        return str(tmp_path / name)

    sources = {"whole": run_on(whole, "whole"), "shares": run_on(shares, "shares")}
    for source in sources.values():
        for images in (whole, shares):
            fitted = preprocess.fit(
                read(images), rows, moments(source, read(images), rows, model="lenet")
            )
            found = fitted.inputs(images)
            assert abs(found.mean()) < 1e-5 and abs(found.std() - 1) < 1e-5
    measured = run_on(shares * 16, "measured")
    same = moments(measured, read(shares * 16), rows, model="lenet")
    own = preprocess.fit(read(shares * 16), rows)
    assert same == (own.mean, own.scale)
    with pytest.raises(SettingError, match=r"from 0 to 1, and these are of another range"):
        moments(sources["shares"], read(shares * 16), rows, model="lenet")
    with pytest.raises(SettingError, match=r"of another range, and these are from 0 to 255"):
        moments(measured, read(whole), rows, model="lenet")
    old = store.read_json(Path(measured) / "preprocess" / "preprocess.json")
    del old["unit"]  # a run of before
    store.write_json(Path(measured) / "preprocess" / "preprocess.json", old)
    assert moments(measured, read(whole), rows, model="lenet") == same


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("resnet", {"depth": 18}, r"conv1\.weight.*network has model\.stem=large\.$"),
        (
            "alexnet",
            {},
            r"features\.0\.weight.*model\.stem=large and model\.version=torchvision\.$",
        ),
    ],
)
def test_weights_of_torchvisions_layout_say_which_settings_have_it(
    tmp_path: Path, name: str, settings: dict[str, Any], says: str
) -> None:
    spec = Spec("images", "classification", (3, 32, 32), ("a", "b"))
    theirs = {**settings, "stem": "large"} | (
        {"version": "torchvision"} if name == "alexnet" else {}
    )
    large = Spec("images", "classification", (3, 96, 96), ("a", "b"))
    file = tmp_path / "theirs.pth"
    torch.save(build(name, large, {**theirs, "width": 8}).state_dict(), file)
    recipe = complete({"model.name": name, "model.width": 8, "model.pretrained": str(file)}, spec)
    with pytest.raises(DataError, match=says) as caught:
        check_buildable(recipe, spec)
    assert caught.value.setting == "model.pretrained"


def test_inceptions_weights_see_what_they_saw_in_training() -> None:
    """torchvision's GoogLeNet takes its input from ImageNet's normalisation to -1 to 1; ours has no
    such step, so its images are normalised to -1 to 1 at once."""
    from torchvision.models import googlenet

    from fitwell.weights import fit_weights, moments

    torch.manual_seed(0)
    theirs = googlenet(num_classes=5, aux_logits=False, init_weights=False).eval()
    theirs.transform_input = True  # type: ignore[bad-argument-type]  # as where it loads its weights
    ours = build(
        "googlenet",
        Spec("images", "classification", (3, 64, 64), tuple("abcde")),
        {"stem": "large"},
    ).eval()
    fit_weights(ours, theirs.state_dict())
    raw = np.random.default_rng(0).integers(0, 256, (4, 3, 64, 64), dtype=np.uint8)
    data = fitwell_data.read((raw, np.arange(4) % 2), {})

    def logits(network: nn.Module, name: str) -> Tensor:
        mean, scale = (
            torch.tensor(m, dtype=torch.float32).view(3, 1, 1)
            for m in moments("weights.pth", data, np.arange(4), model=name)
        )
        with torch.no_grad():
            return network((torch.from_numpy(raw) - mean) / scale)

    expected = logits(theirs, "torchvision:googlenet")
    assert expected.std() > 1e-2
    torch.testing.assert_close(logits(ours, "googlenet"), expected, atol=1e-5, rtol=1e-4)
    assert moments("w.pth", data, np.arange(4), model="inception")[0] == (127.5,) * 3
    grey = fitwell_data.read((raw[:, :1], np.arange(4) % 2), {})
    assert moments("w.pth", grey, np.arange(4), model="torchvision:googlenet")[0] == (127.5,)


def test_the_default_recipe_is_gentler(source: Path) -> None:
    spec = Spec("images", "classification", (1, 8, 8), ("a", "b"), num_examples=500)
    plain = complete({"model.name": "convnet"}, spec)
    recipe = complete({"model.name": "convnet", "model.pretrained": str(source)}, spec)
    tuning = fine_tuning("sgd", "cross_entropy", images=True, examples=500)
    assert {name: recipe[name] for name in tuning} == tuning
    fewer = complete({"model.name": "convnet", "model.pretrained": "w", "data.limit": 250}, spec)
    assert fewer["train.epochs"] == 51 and recipe["train.epochs"] == 26  # 400 steps of 32 examples
    for name in ("train.epochs", "optim.lr", "train.first_lr"):
        assert recipe[name] < plain[name], name
    assert recipe["loss.label_smoothing"] > plain["loss.label_smoothing"]
    own = complete({**recipe, "optim.lr": 0.1}, spec)
    assert own["optim.lr"] == 0.1
    adamw = complete({"model.pretrained": str(source), "optim.name": "adamw"}, spec)
    assert adamw["optim.lr"] == 1e-4
    numbers = Spec("images", "regression", (1, 8, 8), num_examples=500)
    complete({"model.pretrained": str(source)}, numbers)  # without label smoothing
    table = complete(
        {"model.pretrained": "w.npz"}, Spec("table", "classification", (3,), ("a", "b"))
    )
    assert table["data.normalise"] == "train"


def test_bad_weights_are_refused_before_training(
    target: Data, source: Path, tmp_path: Path
) -> None:
    def refused(said: str, kind: type[FitwellError] = DataError, **settings: Any) -> None:
        with pytest.raises(kind, match=said) as caught:
            check_buildable(recipe_for(target, source, **settings), target.spec)
        assert caught.value.setting == "model.pretrained" and caught.value.exit_code == 2

    refused("does not exist", model__pretrained=str(tmp_path / "gone.pth"))
    refused("other shapes: conv1.weight is .4, 1, 3, 3. there", model__width=8)
    refused("missing in it: linear4.weight, norm4.weight", model__name="lenet", model__norm="batch")
    refused("no weights for model.name=convnet", SettingError, model__pretrained="torchvision")
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "format").write_text("1")
    refused("training has not ended", model__pretrained=str(unfinished))
    with pytest.raises(SettingError, match=r"Set model\.pretrained"):
        complete({"data.normalise": "pretrained"}, target.spec)
    table = complete(
        {"model.pretrained": str(source), "data.normalise": "pretrained"},
        Spec("table", "classification", (3,), ("a", "b")),
    )
    data = fitwell_data.read((np.random.default_rng(0).random((40, 3)), np.arange(40) % 2), {})
    with pytest.raises(SettingError, match=r"is for images.*data\.normalise=train"):
        from fitwell.train.job import moments_of

        moments_of(table, data, np.arange(40))


def test_a_poor_source_is_warned_of(target: Data, source: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_buildable(recipe_for(target, source), target.spec)
    everything = fitwell_data.read("digits", {})
    with pytest.warns(UserWarning, match="not clearly richer.*examples there.*8 classes there, 10"):
        check_buildable(recipe_for(everything, source), everything.spec)


def test_freezing_random_weights_is_warned_of(target: Data) -> None:
    recipe = complete({"model.name": "lenet", "train.freeze": 0.5}, target.spec)
    with pytest.warns(UserWarning, match="train.freeze = 0.5: frozen layers keep the random"):
        check_buildable(recipe, target.spec)


def test_frozen_layers_are_not_called_sick(target: Data, source: Path) -> None:
    run = tuned(target, source, train__freeze=1.0, train__epochs=6)
    layers = {row["layer"] for row in run.probes if row["kind"] == "step"}
    assert layers == {"head"}
    named = {finding.name for finding in diagnose([run]).findings}
    assert not named & {"vanishing_gradient", "lr_too_low", "dying_relu", "saturated_activation"}


def test_show_says_what_is_frozen_and_what_was_taken_over(
    target: Data, source: Path, tmp_path: Path
) -> None:
    import fitwell as fw

    lent = tmp_path / "lent"
    shutil.copytree(source, lent)
    settings = {"train__freeze": 0.5, "train__epochs": 1}
    run = tuned(target, lent, tmp_path / "run", **settings)
    recipe = recipe_for(target, lent, **settings)
    fresh = fw.show((target.inputs, target.targets), settings=dict(recipe))
    drawn = fw.show((target.inputs, target.targets), settings=SMALL)
    variances = [[layer["variance"] for layer in s["layers"]] for s in (fresh, drawn)]
    assert variances[0] != variances[1] and None not in variances[0]
    shutil.rmtree(lent)  # a run is shown without
    shown = fw.show(run)
    assert "before the pretrained weights" in shown["measured_on"]
    assert fw.show(tmp_path / "run")["table"] == shown["table"] == fresh["table"]
    said = {row["name"]: (row["trainable"], row["init"]) for row in shown["table"]}
    assert said["conv1.weight"] == said["norm2.bias"] == (False, "pretrained")
    assert said["linear3.weight"] == (True, "pretrained")
    assert said["head.weight"] == (True, "default")
    assert shown["trainable"] == sum(r["count"] for r in shown["table"] if r["trainable"])
    with pytest.raises(DataError, match="does not exist"):
        fw.show((target.inputs, target.targets), settings=dict(recipe))


def test_the_command_line_refuses_before_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fitwell.cli.main import run

    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    said = {
        "model.pretrained=broken.pth": "broken.pth",
        "model.pretrained=gone.npz": "gone.npz does not exist",
        "model.candidate=gone.npz": "NAME=WEIGHTS",
        "model.candidate=lenet=gone.npz": "gone.npz does not exist",
        "model.name=torchvision:resnet81": "Did you mean resnet18",
    }
    for setting, expected in said.items():
        assert run(["improve", "digits", setting]) == 2
        assert expected in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["broken.pth"]


def test_a_candidate_that_knows_other_images_is_refused_before_anything_is_written(
    target: Data, source: Path, tmp_path: Path
) -> None:
    import fitwell as fw

    measured = (target.inputs.astype(np.float32) * 3, target.targets)
    settings = {**SMALL, "model.candidate": str(source)}
    with pytest.raises(SettingError, match=r"and these are of another range"):
        fw.improve(measured, settings=settings, out=tmp_path / "run", budget=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_improve_proposes_and_proves_fine_tuning(
    target: Data, source: Path, tmp_path: Path
) -> None:
    from fitwell.improve import improve

    # Three digits a class and few of them: what the source knows of digits is worth much.
    recipe = complete(
        {
            **SMALL,
            "model.candidate": str(source),
            "train.epochs": 3,
            "data.test": 0.2,
            "score.min_effect": 0.01,
        },
        target.spec,
    )
    better = improve(target, recipe, out=tmp_path / "improve", budget=240)
    proved = [v for v in better.verdicts if "model.pretrained" in v.settings]
    assert proved and proved[-1].decision == "helps", better.sentences
    assert better.recipe["model.pretrained"] == str(source)
    assert load_model(better.run)[0] is not None


def test_an_average_of_few_steps_is_not_what_it_started_from() -> None:
    """After 20 steps of a decay of 0.98 alone, 0.98^19 of the first weights would be left."""
    from torch.optim.swa_utils import AveragedModel

    from fitwell.optim import moving_average

    model = nn.Linear(1, 1, bias=False)
    average = AveragedModel(model, multi_avg_fn=moving_average(0.98))
    expected = np.float64(0)
    for step in range(600):
        with torch.no_grad():
            model.weight.fill_(min(step, 20))
        average.update_parameters(model)
        share = min(0.98, (1 + step) / (10 + step)) if step else 0.0
        expected = share * expected + (1 - share) * min(step, 20)
        if step == 19:
            assert (
                average.module.get_parameter("weight").item() > 12
            )  # the last five or so of 0 to 19
    assert average.module.get_parameter("weight").item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("l1", [0.0, 1e-4])
def test_layers_that_thaw_join_those_in_motion(
    target: Data, source: Path, monkeypatch: pytest.MonkeyPatch, l1: float
) -> None:
    """The fused update of SGD takes the momentum of all weights or of none."""
    settings: dict[str, Any] = {"train__thaw_epochs": 2, "train__epochs": 4, "train__ema": 0.0}
    settings |= {"train__first_lr": 1.0}  # all in one group
    fused = tuned(target, source, **settings, optim__l1=l1)
    monkeypatch.setattr(sys.modules["fitwell.optim.sgd"], "can_fuse", lambda groups: False)
    plain = tuned(target, source, **settings, optim__l1=l1)
    assert fused.status == plain.status == "done", fused.failure
    losses = [[row["loss"] for row in run.steps] for run in (fused, plain)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
