"""Layers by name: what every one must do, and the arithmetic against really running torch."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor, nn

from fitwell.errors import SettingError
from fitwell.models import build
from fitwell.nn import arithmetic
from fitwell.nn.arithmetic import TAKES, cost
from fitwell.nn.layers import LAYERS, layer
from fitwell.settings import arguments, signatures
from fitwell.show import layer_table
from fitwell.spec import Spec

# A shape that is large enough for every setting below, and odd.
SHAPES: dict[str, tuple[int, ...]] = {
    "linear": (5,),
    "conv1d": (4, 11),
    "conv2d": (4, 9, 11),
    "maxpool2d": (3, 9, 11),
    "avgpool2d": (3, 9, 11),
    "global_avgpool": (3, 5, 7),
    "batchnorm1d": (5,),
    "batchnorm2d": (3, 5, 7),
    "layernorm": (5, 6),
    "groupnorm": (12, 5, 7),
    "dropout": (50,),
    "dropout2d": (30, 2, 2),
    "flatten": (3, 5, 7),
    "unflatten": (12,),
    "tokens": (3, 5, 7),
    "attention": (7, 12),
}
# Set before the setting that is tried, so that there is something to see.
BEFORE: dict[str, dict[str, Any]] = {"conv1d": {"out_channels": 2}, "conv2d": {"out_channels": 2}}
BESIDE: dict[str, dict[str, Any]] = {
    "padding_mode": {"padding": 1},
    "running_statistics": {"affine": False},
}
CHANGED: dict[str, Any] = {
    "out_features": 3,
    "out_channels": 4,
    "kernel": 4,
    "stride": 3,
    "padding": 1,
    "dilation": 2,
    "groups": 2,
    "bias": False,
    "padding_mode": "circular",
    "ceil_mode": True,
    "eps": 0.5,
    "momentum": 0.9,
    "affine": False,
    "running_statistics": False,
    "axes": 2,
    "rate": 0.1,
    "channels": 3,
    "heads": 3,
    "dropout": 0.5,
}
every = pytest.mark.parametrize("name", LAYERS)


def built(name: str, shape: tuple[int, ...] = (), **values: Any) -> nn.Module:
    torch.manual_seed(0)
    return layer(name, shape or SHAPES[name], values)


def trace(module: nn.Module, x: Tensor) -> list[Tensor]:
    """What it gives in training, then in evaluation, and its parameters."""
    torch.manual_seed(1)
    training = module.train()(x).detach()
    return [training, module.eval()(x).detach(), *[p.detach() for p in module.parameters()]]


def differ(one: list[Tensor], two: list[Tensor]) -> bool:
    shapes = [[t.shape for t in side] for side in (one, two)]
    return shapes[0] != shapes[1] or any(
        not torch.equal(a, b) for a, b in zip(one, two, strict=True)
    )


def test_the_tables_name_the_same_layers() -> None:
    assert set(LAYERS) == set(TAKES) == set(SHAPES) == set(signatures()["layers"])
    assert set(LAYERS) == set(arithmetic._COSTS)


@every
def test_no_setting_is_dead(name: str) -> None:
    x = 2 + 3 * torch.randn(6, *SHAPES[name])
    for setting in signatures()["layers"][name]:
        base = {**BEFORE.get(name, {}), **BESIDE.get(setting, {})}
        before = trace(built(name, **base), x)
        after = trace(built(name, **{**base, setting: CHANGED[setting]}), x)
        assert differ(before, after), setting


@every
def test_gradient_reaches_input_and_parameters(name: str) -> None:
    module = built(name)
    x = torch.randn(6, *SHAPES[name], requires_grad=True)
    y = module(x)
    (y * torch.randn_like(y)).sum().backward()
    for own, p in (("input", x), *module.named_parameters()):
        assert p.grad is not None and p.grad.abs().sum() > 0, own


@every
def test_evaluation_rows_do_not_depend_on_one_another(name: str) -> None:
    module = built(name)
    x = torch.randn(6, *SHAPES[name])
    module(x)
    module.eval()
    alone = torch.cat([module(row[None]) for row in x])
    torch.testing.assert_close(module(x), alone, atol=1e-5, rtol=1e-4)


@every
def test_bfloat16_is_near_float32(name: str) -> None:
    module, x = built(name).eval(), torch.randn(6, *SHAPES[name]).bfloat16()
    expected = module(x.float())
    with torch.autocast("cpu", torch.bfloat16):
        error = (module(x).float() - expected).abs().max()
    assert error <= 0.02 * expected.abs().max()


@every
def test_eight_examples_can_be_overfitted_and_the_weights_travel(name: str) -> None:
    spec = Spec("images", "regression", SHAPES[name])
    entry = f"{name}(rate=0.0)" if name.startswith("dropout") else name
    torch.manual_seed(0)
    model, other = (
        build("sequential", spec, {"layers": [entry, "flatten", "linear(32)", "tanh"]})
        for _ in range(2)
    )
    x, y = torch.randn(8, *SHAPES[name]), torch.randn(8, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
    error = (model.eval()(x) - y).square().mean()
    assert error < 0.05
    assert not torch.equal(other.eval()(x), model(x))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))


@every
@pytest.mark.parametrize("sizes", [(1, 1), (3, 7), (13, 5)])
def test_odd_sizes(name: str, sizes: tuple[int, int]) -> None:
    axes = TAKES[name][-1] if TAKES[name] else ("feature",)
    if "kernel" in signatures()["layers"][name] and min(sizes) < 3:
        return
    positions = iter(sizes if "height" in axes else [sizes[0] * sizes[1]])
    shape = tuple(12 if a in ("channel", "feature") else next(positions) for a in axes)
    gives = cost(name, shape, arguments("layers", name, {}))
    assert built(name, shape)(torch.randn(3, *shape)).shape == (3, *gives.output)


@every
def test_settings_have_a_range_and_a_meaning(name: str) -> None:
    parameters = list(inspect.signature(LAYERS[name]).parameters.values())[1:]
    assert [p.name for p in parameters] == list(signatures()["layers"][name])
    for parameter in parameters:
        assert parameter.kind is parameter.KEYWORD_ONLY
        adapter = TypeAdapter(parameter.annotation)
        adapter.validate_python(parameter.default)
        assert "description" in adapter.json_schema()
        for bad in (-1, float("nan"), "nonsense", [1.5]):
            with pytest.raises(SettingError, match=parameter.name):
                layer(name, SHAPES[name], {parameter.name: bad})


# --- the arithmetic, against running torch ---------------------------------------------------

small = st.integers(1, 4)
border = st.integers(0, 3)


def pair(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[Any]:
    return st.one_of(numbers, st.lists(numbers, min_size=2, max_size=2))


def convolution(among: Callable[[st.SearchStrategy[int]], Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {
            "out_channels": st.integers(1, 6),
            "kernel": among(small),
            "stride": among(small),
            "padding": among(border) | st.sampled_from(["same", "valid"]),
            "dilation": among(small),
            "groups": st.integers(1, 3),
            "bias": st.booleans(),
            "padding_mode": st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
        }
    )


pooling = st.fixed_dictionaries(
    {
        "kernel": pair(small),
        "stride": pair(border),
        "padding": pair(border),
        "ceil_mode": st.booleans(),
    }
)
sides = st.integers(1, 12)
maps = st.tuples(st.integers(1, 6), sides, sides)


def agrees(name: str, shape: tuple[int, ...], values: dict[str, Any]) -> bool:
    """The arithmetic says what torch does, and refuses what torch refuses; whether it was refused."""
    try:
        gives = cost(name, shape, arguments("layers", name, values))
    except SettingError:
        with pytest.raises((RuntimeError, ValueError)):
            LAYERS[name](shape, **values)(torch.zeros(2, *shape))
        return False
    module = built(name, shape, **values)
    assert module(torch.zeros(2, *shape)).shape == (2, *gives.output)
    assert sum(p.numel() for p in module.parameters()) == gives.parameters
    rows = layer_table(module, Spec("images", "regression", shape))
    assert sum(row["multiply_adds"] for row in rows) == gives.multiply_adds
    return True


@settings(max_examples=150, deadline=None)
@given(shape=maps, values=convolution(pair))
def test_conv2d_is_what_torch_does(shape: tuple[int, ...], values: dict[str, Any]) -> None:
    agrees("conv2d", shape, values)


@settings(max_examples=60, deadline=None)
@given(shape=st.tuples(st.integers(1, 6), sides), values=convolution(lambda numbers: numbers))
def test_conv1d_is_what_torch_does(shape: tuple[int, ...], values: dict[str, Any]) -> None:
    agrees("conv1d", shape, values)


@settings(max_examples=80, deadline=None)
@given(name=st.sampled_from(["maxpool2d", "avgpool2d"]), shape=maps, values=pooling)
def test_pooling_is_what_torch_does(
    name: str, shape: tuple[int, ...], values: dict[str, Any]
) -> None:
    agrees(name, shape, values)


@every
def test_the_others_are_what_torch_does(name: str) -> None:
    assert agrees(name, SHAPES[name], BEFORE.get(name, {}))
    for bad in [(4,), (4, 6), (4, 6, 5), (4, 2, 2, 2)]:
        if TAKES[name] and len(bad) not in [len(axes) for axes in TAKES[name]]:
            with pytest.raises(SettingError, match=rf"{name} needs an input of \["):
                layer(name, bad, {})


@pytest.mark.parametrize("kernel, dilation, reach", [(5, 1, 5), (3, 3, 7)])
def test_the_least_padding_that_is_named_is_enough_and_no_less(
    kernel: int, dilation: int, reach: int
) -> None:
    with pytest.raises(SettingError, match=rf"window of {reach}.* does not fit") as caught:
        arithmetic.output_size(4, kernel, dilation=dilation)
    least = int(caught.value.message.rpartition("padding=")[2].rstrip("."))
    assert arithmetic.output_size(4, kernel, dilation=dilation, padding=least) >= 1
    with pytest.raises(SettingError):
        arithmetic.output_size(4, kernel, dilation=dilation, padding=least - 1)


@pytest.mark.parametrize(
    ("name", "shape", "values", "says"),
    [
        ("conv2d", (3, 8, 8), {"groups": 2}, "must divide the 3 channels of the input"),
        ("conv2d", (4, 8, 8), {"out_channels": 3, "groups": 2}, "must divide the 3 out_channels"),
        ("conv2d", (3, 8, 8), {"kernel": [2, 3, 4]}, "a list of at most 2"),
        ("conv2d", (3, 2, 2), {"padding": 2, "padding_mode": "reflect"}, "no more than 1"),
        (
            "conv2d",
            (3, 8, 8),
            {"padding": "same", "stride": [1, 2]},
            "which a stride of 2 does not",
        ),
        ("conv2d", (3, 8, 8), {"padding": "sam"}, "Did you mean same"),
        ("conv2d", (3, 8, 8), {"padding": -1}, "must be at least 0"),
        (
            "conv2d",
            (3, 4, 4),
            {"padding": "same", "kernel": 8, "padding_mode": "reflect"},
            "padding = same: reflect takes 4 from the input",
        ),
        ("conv2d", (3, 8, 8), {"kernal": 2}, "Did you mean kernel"),
        ("maxpool2d", (3, 8, 8), {"kernel": 2, "padding": 2}, "at most half the kernel of 2"),
        ("groupnorm", (6, 8, 8), {"groups": 4}, "must divide the 6 channels"),
        ("layernorm", (6,), {"axes": 2}, "has only 1"),
        ("unflatten", (7,), {"channels": 2}, "must divide the 7 numbers"),
        ("attention", (5, 6), {"heads": 4}, "must divide the 6 features"),
        ("attention", (6,), {}, r"an input of \[token, feature\], and gets \[6\]"),
    ],
)
def test_each_mistake_has_its_sentence(
    name: str, shape: tuple[int, ...], values: dict[str, Any], says: str
) -> None:
    with pytest.raises(SettingError, match=says):
        layer(name, shape, values)


# --- single layers, against an independent reference -----------------------------------------


@pytest.mark.parametrize("bias", [True, False])
def test_attention_equals_torchs(bias: bool) -> None:
    ours: Any = built("attention", heads=3, bias=bias).double()
    theirs = nn.MultiheadAttention(12, 3, bias=bias, batch_first=True).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 7, 12, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0])
    order = torch.randperm(7)
    torch.testing.assert_close(ours(x[:, order]), ours(x)[:, order])  # it knows no order


def test_batch_norm_gathers_its_statistics_as_written() -> None:
    x = 2 + 3 * torch.randn(64, 3, 5, 7)
    module: Any = built("batchnorm2d", momentum=0.3)
    module(x)
    mean = x.mean((0, 2, 3))
    torch.testing.assert_close(module.running_mean, 0.3 * mean)
    torch.testing.assert_close(module.running_var, 0.7 + 0.3 * x.transpose(0, 1).flatten(1).var(1))
    by_batch = built("batchnorm2d", running_statistics=False)
    by_batch(x)
    torch.testing.assert_close(
        by_batch.eval()(x).mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0
    )


def test_shapes_that_are_undone() -> None:
    x = torch.randn(2, 3, 4, 5)
    tokens = built("tokens")(x)
    assert torch.equal(tokens[:, 7], x[:, :, 1, 2])  # row 1, column 2 of 4x5
    row = built("flatten")(x)
    assert torch.equal(built("unflatten", (60,), channels=3)(row), x.flatten(2))
    torch.testing.assert_close(built("global_avgpool")(x), tokens.mean(1))
