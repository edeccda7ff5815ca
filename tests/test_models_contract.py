"""What every model of the table must do, on every kind of data that it reads, for classes and numbers."""

import inspect
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError
from resuming import ends_the_same
from torch import nn

from fitwell import data as fitwell_data
from fitwell.errors import SettingError
from fitwell.families import OF_FORECASTS, OF_SEQUENCES, RECURRENT
from fitwell.models import MODELS, build
from fitwell.models.parts import example_inputs
from fitwell.models.vit import positions
from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.inits import INITS
from fitwell.nn.types import NormName
from fitwell.probes import is_activation
from fitwell.resolve import complete
from fitwell.spec import Column, Spec

CLASSES = ("a", "b", "c")
# inception is another name of googlenet; yolo, which finds boxes, has tests/test_models_yolo.py.
NAMES = [name for name in MODELS if name not in ("inception", "yolo")]
TEXTS = ["bag_of_words"]
SEQUENCES = list(OF_SEQUENCES)
FORECASTS = list(OF_FORECASTS)
ANYTHING = ["linear", "mlp", "sequential"]
IMAGES = [n for n in NAMES if n not in (*ANYTHING, *TEXTS, *SEQUENCES, *FORECASTS)]
# Small enough to be quick; the default size elsewhere.
SMALL: dict[str, dict[str, Any]] = {
    "alexnet": {"width": 12},
    "vgg": {"width": 4},
    "nin": {"width": 8},
    "googlenet": {"width": 16},
    "resnet": {"width": 4},
    "densenet": {"growth": 4},
    "vit": {"width": 16, "depth": 2, "stem": "small"},
    "bag_of_words": {"width": 16, "depth": 1},
    **{name: {"width": 16} for name in RECURRENT},
    "fcn": {"width": 8},
    "resnet1d": {"width": 8, "depth": 2},
    "tcn": {"width": 16, "depth": 2},
    "transformer": {"width": 16, "depth": 2},
}
_COLUMNS = (Column("age"), Column("town", "category", ("a", "b", "c")), Column("price"))
SPECS = {
    "image classes": Spec("images", "classification", (1, 8, 8), CLASSES),
    "image number": Spec("images", "regression", (3, 12, 10)),
    "table classes": Spec("table", "classification", (5,), CLASSES),
    "table number": Spec("table", "regression", (5,), columns=_COLUMNS),
    "text classes": Spec("text", "classification", (12,), CLASSES, vocabulary=40),
    "text number": Spec("text", "regression", (12,), vocabulary=40),
    "series classes": Spec("series", "classification", (3, 20), CLASSES),
    "series number": Spec("series", "regression", (2, 15)),
    "series ahead": Spec("series", "forecasting", (2, 30), targets=("a", "b"), horizon=3),
    "audio classes": Spec("audio", "classification", (1, 8, 12), CLASSES, rate=8000, samples=960),
}
READ = {
    **{name: {"text"} for name in TEXTS},
    **{name: {"text", "series", "audio"} for name in SEQUENCES},
    **{name: {"series"} for name in FORECASTS},
    **{name: {"images"} for name in IMAGES},
    "linear": {"images", "table", "series"},
    "mlp": {"images", "table", "series"},
    "sequential": {"images", "table"},
}
PAIRS = [
    (model, what)
    for model in NAMES
    for what in SPECS
    if SPECS[what].kind in READ[model]
    and (model not in FORECASTS or SPECS[what].task == "forecasting")
]
every_pair = pytest.mark.parametrize(("name", "what"), PAIRS)


def small(name: str, spec: Spec, **settings: Any) -> nn.Module:
    return build(name, spec, {**SMALL.get(name, {}), **settings})


def usual_spec(name: str) -> Spec:
    if name in SEQUENCES:
        return SPECS["series classes"]
    if name in FORECASTS:
        return SPECS["series ahead"]
    return SPECS["text classes" if name in TEXTS else "image classes"]


def long_table() -> Any:
    import polars as pl

    numbers = np.random.default_rng(0).normal(size=(2, 90)).cumsum(1)
    return pl.DataFrame({"t": np.arange(90), "a": numbers[0], "b": numbers[1]})


def accepts(name: str, **settings: Any) -> dict[str, Any]:
    """Those of the settings that the model has, with values that it takes."""
    own = inspect.signature(MODELS[name]).parameters
    return {key: value for key, value in settings.items() if key in own and takes(own[key], value)}


def takes(parameter: inspect.Parameter, value: object) -> bool:
    try:
        TypeAdapter(parameter.annotation).validate_python(value)
    except ValidationError:
        return False
    return True


def _batch(spec: Spec, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = example_inputs(spec, n)
    if spec.task == "classification":
        return x, torch.arange(n) % spec.num_outputs
    return x, torch.randn(n)


def _loss(spec: Spec, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if spec.task == "classification":
        return F.cross_entropy(outputs, target)
    return F.mse_loss(outputs[:, 0], target)


@every_pair
def test_output_has_one_row_an_example(name: str, what: str) -> None:
    spec = SPECS[what]
    model = small(name, spec)
    for n in (2, 7):
        output = model(example_inputs(spec, n))
        assert output.shape == (n, spec.num_outputs) and output.isfinite().all()
    model.eval()
    assert model(example_inputs(spec, 1)).shape == (1, spec.num_outputs)


@every_pair
def test_gradient_reaches_every_parameter(name: str, what: str) -> None:
    torch.manual_seed(0)
    spec = SPECS[what]
    model = small(name, spec)
    x, y = _batch(spec, 16)
    _loss(spec, model(x), y).backward()
    for own, p in model.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, own


# Without the linear model of a table: five weights cannot pass through eight arbitrary points.
@pytest.mark.parametrize(
    ("name", "what"), [p for p in PAIRS if p[0] != "linear" or p[1].startswith("image")]
)
def test_eight_examples_can_be_overfitted(name: str, what: str) -> None:
    torch.manual_seed(0)
    spec = SPECS[what]
    lr, steps = 0.01, 150
    if name in ("googlenet", "csp"):
        # On small images two thirds of their layers see one position: over eight values the variance in
        # training and that in evaluation differ by 8/7 a layer. Larger ones take longer.
        side = 32 if name == "googlenet" else 64
        spec = replace(spec, input_shape=(spec.input_shape[0], side, side))
        lr, steps = 0.003, 60
    model = small(name, spec, **accepts(name, dropout=0.0))
    x, y = _batch(spec, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        _loss(spec, model(x), y).backward()
        optimizer.step()
    model.eval()
    assert _loss(spec, model(x), y).item() < 0.05


@every_pair
@pytest.mark.parametrize("norm", get_args(NormName))
def test_evaluation_rows_do_not_depend_on_one_another(name: str, what: str, norm: str) -> None:
    torch.manual_seed(0)
    spec = SPECS[what]
    model = small(name, spec, **accepts(name, norm=norm, dropout=0.3))
    x, _ = _batch(spec, 6)
    model(x)  # moves the running statistics
    model.eval()
    with torch.no_grad():
        together = model(x)
        alone = torch.cat([model(row[None]) for row in x])
        x[3] = 3 if what.startswith("text") else 1e3
        assert torch.equal(model(x)[:3], together[:3])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


CHANGED: dict[str, Any] = {
    "width": 5,
    "depth": 3,
    "activation": "tanh",
    "norm": "layer",
    "dropout": 0.4,
    "init": "orthogonal",
    "pool": "avg",
    "stem": "large",
    "version": "torchvision",
    "growth": 6,
    "drop_path": 0.5,
    "heads": 2,
    "patch": 3,
    "layers": ["flatten", "linear(9)", "tanh"],
    "embedding": 2,
    "waves": 5,
    "counting": "counts",
    "pooling": "max",
    "size": "small",
    "bidirectional": True,
    "recurrent_init": "identity",
    "forget_bias": 0.0,
    "kernel": 4,
    "positions": "learned",
    "individual": True,
    "subtract": "last",
    "order": 5,
}
OF_TABLES = {"embedding", "waves"}
CHANGED_OF: dict[str, dict[str, Any]] = {
    "vgg": {"depth": 13},
    "resnet": {"depth": 34},
    "densenet": {"depth": 40},
    "vit": {"width": 20},
    "transformer": {"width": 20},
    **{name: {"norm": "layer", "depth": 1} for name in ["fcn", "resnet1d"]},
    "tcn": {"norm": "batch"},
    "rnn": {"activation": "relu"},
}


@every_pair
def test_every_setting_moves_the_output(name: str, what: str) -> None:
    def output(spec: Spec, **settings: Any) -> torch.Tensor:
        torch.manual_seed(0)
        model = small(name, spec, **settings)
        torch.manual_seed(1)
        return model(example_inputs(spec, 8)).detach()

    settings = [n for n in inspect.signature(MODELS[name]).parameters if n != "spec"]
    if name in SEQUENCES:
        # `tied` is of a language; `embedding` of words: with either, others are refused.
        settings = [n for n in settings if n != "tied"]
        if not what.startswith("text"):
            settings = [n for n in settings if n != "embedding"]
    assert set(settings) <= set(CHANGED)
    if SPECS[what].kind in ("images", "series"):
        settings = [n for n in settings if n not in OF_TABLES]
    elif not SPECS[what].columns:
        settings = [n for n in settings if n != "embedding"]  # there is no category
    usual = output(SPECS[what])
    for setting in settings:
        value = CHANGED_OF.get(name, {}).get(setting, CHANGED[setting])
        if setting == "stem":  # the large one wants larger images
            spec = replace(SPECS[what], input_shape=(1, 70, 68))
            assert not torch.equal(output(spec), output(spec, stem=value))
        else:
            assert not torch.equal(usual, output(SPECS[what], **{setting: value})), setting


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_annotated_with_a_range_and_meaning(name: str) -> None:
    for own, parameter in inspect.signature(MODELS[name]).parameters.items():
        if own == "spec":
            continue
        assert parameter.kind is parameter.KEYWORD_ONLY
        adapter = TypeAdapter(parameter.annotation)
        assert "description" in adapter.json_schema(), own
        adapter.validate_python(parameter.default)
        for bad in (-1, float("nan"), "nonsense", 1.5, [1.0], None):
            if (own == "depth" and bad == 1.0) or (own == "forget_bias" and bad in (-1, 1.5)):
                continue
            with pytest.raises(ValidationError):
                adapter.validate_python(bad)


ACTIVATION_COUNTS = {
    "mlp": 2,
    "lenet": 4,
    "convnet": 3,
    "alexnet": 7,
    "vgg": 10,
    "nin": 11,
    "googlenet": 3 + 9 * 6,
    "resnet": 1 + 8 * 2,
    "densenet": 9 * 2 + 2 + 1,
    "csp": 1 + 4 * (1 + 3) + 2 * (1 + 3 + 3 + 1) + 2,
    "vit": 1 + 2,
    "fcn": 3,
    "resnet1d": 2 * 3,
    "tcn": 2 * 3,
    "transformer": 2,
}


@pytest.mark.parametrize("name", ACTIVATION_COUNTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_modules_that_hooks_see(name: str, activation: str) -> None:
    spec = usual_spec(name)
    model = small(name, spec, activation=activation)
    acts = [m for m in model.modules() if is_activation(m)]
    assert len(acts) == ACTIVATION_COUNTS[name] == len({id(a) for a in acts})
    called: list[nn.Module] = []
    for act in acts:
        act.register_forward_hook(lambda module, *_: called.append(module))
    model(torch.randn(4, *spec.input_shape))
    assert called == acts  # once each, in the order of the model


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("init", INITS)
def test_init_reaches_every_weight(name: str, init: str) -> None:
    spec = usual_spec(name)
    weights = []
    for chosen in ("default", init):
        torch.manual_seed(0)
        model = small(name, spec, init=chosen)
        tensors = {own: p.detach() for own, p in model.named_parameters() if p.dim() >= 2}
        # Summed with the patches, so no rule for weights says how large they are.
        for own in [n for n in tensors if n.endswith("class_token")]:
            assert tensors.pop(own).std() < 0.03
        if init != "default" and name in RECURRENT:
            # Which are drawn by a setting of their own.
            tensors = {n: p for n, p in tensors.items() if "weight_hh" not in n}
        for own in [n for n in tensors if n.endswith("pos_embedding")]:
            found = tensors.pop(own)[0, 1:]
            side = math.isqrt(len(found))
            assert torch.equal(found, positions(side, side, found.shape[1]))
        weights.append(tensors)
    same = [torch.equal(weights[0][n], weights[1][n]) for n in weights[1]]
    assert all(same) if init == "default" else not any(same)


@pytest.mark.parametrize("name", NAMES)
def test_weights_travel(name: str) -> None:
    spec = usual_spec(name)
    one, two = (small(name, spec).eval() for _ in range(2))
    x, _ = _batch(spec, 4)
    assert not torch.equal(one(x), two(x))
    two.load_state_dict(one.state_dict())
    assert torch.equal(one(x), two(x))


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_ends_in_the_same_weights(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    inputs: Any = rng.integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
    if name in SEQUENCES:
        inputs = [rng.normal(size=(2, steps)) for steps in rng.integers(5, 12, 60)]
    if name in TEXTS:
        inputs = [" ".join(rng.choice(list("abcdefgh"), 12)) for _ in range(60)]
    data = fitwell_data.read((inputs, np.arange(60) % 3), {})
    if name in FORECASTS:
        data = fitwell_data.read(long_table(), {"kind": "series", "time": "t"})
    chosen = {**SMALL.get(name, {}), **accepts(name, norm="batch", dropout=0.3, drop_path=0.3)}
    settings = {"model.name": name, "train.epochs": 3, "train.batch_size": 16, "optim.lr": 1e-3}
    recipe = complete(settings | {f"model.{k}": v for k, v in chosen.items()}, data.spec)
    ends_the_same(data, recipe, tmp_path, after=2)


@pytest.mark.parametrize("name", NAMES)
def test_memory_layout_and_precision_keep_the_result(name: str) -> None:
    torch.manual_seed(0)
    spec = Spec("images", "classification", (3, 16, 16), CLASSES)
    spec = usual_spec(name) if name in (*TEXTS, *SEQUENCES, *FORECASTS) else spec
    model = small(name, spec).eval()
    x, _ = _batch(spec, 8)
    expected = model(x)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
    torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        error = (model(x).float() - expected).abs().max()
    assert error < 0.05 * expected.abs().max()


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("shape", [(1, 8, 9), (2, 15, 11), (3, 31, 33), (4, 97, 99)])
def test_odd_sizes_and_any_number_of_channels(name: str, shape: tuple[int, int, int]) -> None:
    model = small(name, Spec("images", "classification", shape, CLASSES)).eval()
    output = model(torch.randn(2, *shape))
    assert output.shape == (2, 3) and output.isfinite().all()


@pytest.mark.parametrize("name", [*IMAGES, *SEQUENCES])
def test_image_and_sequence_models_refuse_tables_and_name_another(name: str) -> None:
    with pytest.raises(SettingError, match=r"model\.name=mlp") as caught:
        build(name, SPECS["table classes"], {})
    assert caught.value.setting == "model.name"


def test_unknown_models_get_a_suggestion() -> None:
    with pytest.raises(SettingError, match="Did you mean lenet") as caught:
        build("lent", SPECS["image classes"], {})
    assert caught.value.setting == "model.name" and caught.value.exit_code == 2


def test_inception_is_another_name_of_googlenet() -> None:
    assert MODELS["inception"] is MODELS["googlenet"]
