"""What every model of the table must do, on images and tables, for classes and numbers."""

import inspect
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError
from torch import nn

from fitwell.errors import SettingError
from fitwell.models import MODELS, build
from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.inits import INITS
from fitwell.nn.types import NormName
from fitwell.probes import is_activation
from fitwell.spec import Spec

CLASSES = ("a", "b", "c")
IMAGES = ["lenet", "convnet"]
SPECS = {
    "image classes": Spec("images", "classification", (1, 8, 8), CLASSES),
    "image number": Spec("images", "regression", (3, 12, 10)),
    "table classes": Spec("table", "classification", (5,), CLASSES),
    "table number": Spec("table", "regression", (5,)),
}
PAIRS = [
    (model, what)
    for model in MODELS
    for what in SPECS
    if not (model in IMAGES and what.startswith("table"))
]
every_pair = pytest.mark.parametrize(("name", "what"), PAIRS)


def _batch(spec: Spec, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(n, *spec.input_shape)
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
    model = build(name, spec, {})
    for n in (2, 7):
        output = model(torch.randn(n, *spec.input_shape))
        assert output.shape == (n, spec.num_outputs) and output.isfinite().all()
    model.eval()
    assert model(torch.randn(1, *spec.input_shape)).shape == (1, spec.num_outputs)


@every_pair
def test_gradient_reaches_every_parameter(name: str, what: str) -> None:
    torch.manual_seed(0)
    spec = SPECS[what]
    model = build(name, spec, {})
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
    model = build(name, spec, {})
    x, y = _batch(spec, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        _loss(spec, model(x), y).backward()
        optimizer.step()
    model.eval()
    assert _loss(spec, model(x), y).item() < 0.05


@every_pair
@pytest.mark.parametrize("norm", [*get_args(NormName)])
def test_evaluation_rows_do_not_depend_on_one_another(name: str, what: str, norm: str) -> None:
    torch.manual_seed(0)
    spec = SPECS[what]
    accepts = "norm" in inspect.signature(MODELS[name]).parameters
    model = build(name, spec, {"norm": norm, "dropout": 0.3} if accepts else {})
    x, _ = _batch(spec, 6)
    model(x)  # moves the running statistics
    model.eval()
    with torch.no_grad():
        together = model(x)
        alone = torch.cat([model(row[None]) for row in x])
        x[3] = 1e3
        assert torch.equal(model(x)[:3], together[:3])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


CHANGED: dict[str, Any] = {
    "width": 5,
    "depth": 3,
    "activation": "tanh",
    "norm": "layer",
    "dropout": 0.4,
    "init": "he",
    "pool": "avg",
    "layers": ["flatten", "linear(9)", "tanh"],
}


@every_pair
def test_every_setting_moves_the_output(name: str, what: str) -> None:
    spec = SPECS[what]

    def output(**settings: Any) -> torch.Tensor:
        torch.manual_seed(0)
        model = build(name, spec, settings)
        torch.manual_seed(1)
        return model(torch.randn(8, *spec.input_shape)).detach()

    settings = [n for n in inspect.signature(MODELS[name]).parameters if n != "spec"]
    assert set(settings) <= set(CHANGED)
    for setting in settings:
        assert not torch.equal(output(), output(**{setting: CHANGED[setting]})), setting


@pytest.mark.parametrize("name", MODELS)
def test_settings_are_annotated_with_a_range_and_meaning(name: str) -> None:
    for own, parameter in inspect.signature(MODELS[name]).parameters.items():
        if own == "spec":
            continue
        assert parameter.kind is parameter.KEYWORD_ONLY
        adapter = TypeAdapter(parameter.annotation)
        assert "description" in adapter.json_schema(), own
        adapter.validate_python(parameter.default)
        for bad in (-1, float("nan"), "nonsense", 1.5, [1.0], None):
            if own == "depth" and bad == 1.0:
                continue
            with pytest.raises(ValidationError):
                adapter.validate_python(bad)


@pytest.mark.parametrize("name", ["mlp", *IMAGES])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_modules_that_hooks_see(name: str, activation: str) -> None:
    spec = SPECS["image classes"]
    model = build(name, spec, {"activation": activation})
    acts = [m for m in model.modules() if is_activation(m)]
    expected = {"mlp": 2, "lenet": 4, "convnet": 3}[name]
    assert len(acts) == expected == len({id(a) for a in acts})
    called: list[nn.Module] = []
    for act in acts:
        act.register_forward_hook(lambda module, *_: called.append(module))
    model(torch.randn(4, *spec.input_shape))
    assert called == acts  # once each, in the order of the model


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("init", INITS)
def test_init_reaches_every_weight(name: str, init: str) -> None:
    spec = SPECS["image classes"]
    weights = []
    for chosen in ("default", init):
        torch.manual_seed(0)
        model = build(name, spec, {"init": chosen})
        weights.append([p.detach() for p in model.parameters() if p.dim() >= 2])
    same = [torch.equal(a, b) for a, b in zip(*weights, strict=True)]
    assert all(same) if init == "default" else not any(same)


@pytest.mark.parametrize("name", MODELS)
def test_weights_travel(name: str) -> None:
    spec = SPECS["image classes"]
    one, two = (build(name, spec, {}).eval() for _ in range(2))
    x, _ = _batch(spec, 4)
    assert not torch.equal(one(x), two(x))
    two.load_state_dict(one.state_dict())
    assert torch.equal(one(x), two(x))


@pytest.mark.parametrize("name", MODELS)
def test_memory_layout_and_precision_keep_the_result(name: str) -> None:
    torch.manual_seed(0)
    spec = Spec("images", "classification", (3, 16, 16), CLASSES)
    model = build(name, spec, {}).eval()
    x, _ = _batch(spec, 8)
    expected = model(x)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model(x).float(), expected, atol=0.05, rtol=0.1)


@pytest.mark.parametrize("name", IMAGES)
def test_image_models_refuse_tables_and_name_another(name: str) -> None:
    with pytest.raises(SettingError, match=r"model\.name=mlp") as caught:
        build(name, SPECS["table classes"], {})
    assert caught.value.setting == "model.name"


def test_unknown_models_get_a_suggestion() -> None:
    with pytest.raises(SettingError, match="Did you mean lenet") as caught:
        build("lent", SPECS["image classes"], {})
    assert caught.value.setting == "model.name" and caught.value.exit_code == 2
