"""A network from the recipe: layers by name, tying, and what is said of each mistake."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import nn

import fitwell as fw
from fitwell.cli.main import run
from fitwell.errors import DataError, Interrupted, SettingError
from fitwell.models import build
from fitwell.models.sequential import read_entry
from fitwell.nn.inits import INITS
from fitwell.nn.tying import state_of, tied_names
from fitwell.optim import parameter_groups
from fitwell.settings import listed, validate
from fitwell.spec import Spec
from fitwell.train.fit import load_model
from fitwell.weights import load_exactly

DIGITS = Spec("images", "classification", (1, 8, 8), tuple("0123456789"))
LENET = [
    "conv2d(6, kernel=5, padding=2)",
    "sigmoid",
    "avgpool2d(2)",
    "conv2d(16, kernel=5)",
    "sigmoid",
    "avgpool2d(2)",
    "flatten",
    "linear(120)",
    "sigmoid",
    "linear(84)",
    "sigmoid",
]
TIED = ["flatten", "shared: linear(64)", "tanh", "@shared", "tanh"]
SOURCE = """
    import torch
    from torch import nn

    class Centered(nn.Module):
        "Without parameters, and with a setting."
        def __init__(self, scale=1.0):
            super().__init__()
            self.scale = scale
        def forward(self, x):
            return self.scale * (x - x.mean(-1, keepdim=True))

    class Mine(nn.Module):
        "With a parameter, whose shape is the input's."
        def __init__(self, shape, *, start: float = 1.0):
            super().__init__()
            self.weight = nn.Parameter(torch.full(tuple(shape), start))
        def forward(self, x):
            return torch.relu(x * self.weight)

    class Lazy(nn.Module):
        def __init__(self, size=3):
            super().__init__()
            self.linear = nn.LazyLinear(size)
        def forward(self, x):
            return self.linear(x)

    class Sums(nn.Module):
        def forward(self, x):
            return x.sum()
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = "own_layers_for_fitwell"
    (tmp_path / f"{name}.py").write_text(dedent(SOURCE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FITWELL_TRUST", "own_layers_for_fitwell,no_such_module_here,torch.nn")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    yield name
    sys.modules.pop(name, None)


def made(layers: list[str], spec: Spec = DIGITS, **values: Any) -> Any:
    torch.manual_seed(0)
    return build("sequential", spec, {"layers": layers, **values})


def test_the_textbooks_lenet_has_its_shapes() -> None:
    spec = Spec("images", "classification", (1, 28, 28), tuple("0123456789"))
    model = made(LENET, spec)
    assert sum(p.numel() for p in model.parameters()) == 61706
    by_hand = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip
    values = list(model.state_dict().values())
    by_hand.load_state_dict(dict(zip(by_hand.state_dict(), values, strict=True)))
    x = torch.randn(3, 1, 28, 28)
    assert torch.equal(model(x), by_hand(x))
    assert all(module.training for module in model.modules())


def test_a_named_last_layer_is_the_head() -> None:
    layers = ["conv2d(12, kernel=3)", "relu", "conv2d(10, kernel=1)", "head: global_avgpool"]
    model = made(layers)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert [n for n, _ in model.named_children()] == ["conv2d1", "relu2", "conv2d3", "head"]


def test_init_reaches_the_layers_and_a_name_gives_the_parameter() -> None:
    model = made(TIED, init="zeros")
    assert not model.get_parameter("shared.weight").any()
    assert set(INITS) >= {"zeros"} and model.get_submodule("shared").in_features == 64


def test_layers_of_ones_own(own: str) -> None:
    layers = ["flatten", f"{own}:Centered(scale=2)", f"mine: {own}:Mine(0.5)", f"{own}:Lazy(7)"]
    model = made(layers)
    assert [n for n, _ in model.named_children()] == [
        "flatten1",
        "centered2",
        "mine",
        "lazy4",
        "head",
    ]
    assert model.get_parameter("mine.weight").shape == (64,)
    assert model.get_parameter("lazy4.linear.weight").shape == (7, 64)
    x = torch.randn(3, 1, 8, 8)
    row = x.flatten(1)
    centred = 2 * (row - row.mean(1, keepdim=True))
    torch.testing.assert_close(model[:3](x), torch.relu(0.5 * centred))


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        (["flatten", "linaer(3)"], r"entry 2 of 2, 'linaer\(3\)', which gets \[64\].*mean linear"),
        (["rellu"], "no layer or activation 'rellu'. Did you mean relu"),
        (["conv2d(6, kernal=3)"], "Did you mean kernel"),
        (["conv2d(6, kernel=9)"], r"gets \[1, 8, 8\].*window of 9 does not fit .*padding=1"),
        (
            ["flatten", "conv2d(6)"],
            r"needs an input of \[channel, height, width\], and gets \[64\]",
        ),
        (["conv2d(6, 3, kernel=3)"], "kernel is given twice"),
        (["relu(1)"], "takes 0 settings"),
        (["linear(1.5)"], "out_features = 1.5: must be a whole number"),
        (["linear(__import__('os').getcwd())"], "not a list of values"),
        (["linear(*[3])"], "not a list of values"),
        (["linear(**{'out_features': 3})"], "not a list of values"),
        (["linear(3"], 'not written as "layer'),
        ([""], 'not written as "layer'),
        (["linear(3)"], "the head needs a row of numbers. Add flatten"),
        (["flatten", "@shared"], "no layer before it is called 'shared'"),
        (["flatten", "a: linear(64)", "@a(3)"], "stand at its first place"),
        (["flatten", "a: linear(60)", "@a"], r"entry 3 of 3, '@a', which gets \[60\].*it fails"),
        (["a: flatten", "a: relu"], "the name 'a' is taken"),
        (["forward: flatten"], "the name 'forward' is taken"),
        (["flatten", "head: linear(9)"], r"the head gives \[9\], and \[10\] is needed"),
        (["flatten", "head: linear(10)", "relu"], "after the head"),
        (["shared:linear(3)"], 'put a blank after the colon: "shared: linear"'),
        (["no_such_module_here:Net"], "no module 'no_such_module_here'"),
        (["torch.nn:Linear(3)"], "torch.nn:Linear needs"),
        (["own_layers_for_fitwell:Centered(scael=2)"], "Did you mean scale"),
        (["own_layers_for_fitwell:Sums"], r"gives \(\) for 2 examples"),
    ],
)
def test_each_mistake_has_its_sentence(own: str, layers: list[str], says: str) -> None:
    with pytest.raises(SettingError, match=f"(?s)model.layers.*{says}") as caught:
        made(layers)
    assert caught.value.setting == "model.layers" and "model.name" not in caught.value.message


def test_images_too_small_for_the_layers_name_the_least_size() -> None:
    layers = ["conv2d(6, kernel=5)", "maxpool2d", "conv2d(6, kernel=5)", "maxpool2d", "flatten"]
    with pytest.raises(
        SettingError, match=r"entry 3 of 5.*data\.image_size=16, the least"
    ) as caught:
        made(layers)
    assert caught.value.setting == "model.layers"
    for side in (15, 16):
        spec = Spec("images", "classification", (1, side, side), tuple("0123456789"))
        if side == 16:
            assert build("sequential", spec, {"layers": layers})(torch.zeros(2, 1, 16, 16)).shape
            continue
        with pytest.raises(SettingError, match="does not fit"):
            build("sequential", spec, {"layers": layers})
    with pytest.raises(SettingError) as caught:  # the head would need a row whatever the size
        made(layers[:-1])
    assert "image_size" not in caught.value.message


names = st.sampled_from(["conv2d", "linear", "a.b:C"])
values = st.one_of(
    st.integers(-9, 9), st.booleans(), st.lists(st.integers(0, 9), max_size=3), st.text("abc_,)('")
)


@settings(max_examples=200, deadline=None)
@given(
    what=names,
    in_order=st.lists(values, max_size=3),
    by_name=st.dictionaries(st.sampled_from(["kernel", "stride"]), values),
)
def test_what_is_written_is_read(what: str, in_order: list[Any], by_name: dict[str, Any]) -> None:
    arguments = [repr(v) for v in in_order] + [f"{k}={v!r}" for k, v in by_name.items()]
    entry = read_entry(f"n1: {what}({', '.join(arguments)})")
    assert (entry.name, entry.what) == ("n1", what)
    assert (entry.in_order, entry.by_name) == (in_order, by_name)


@settings(max_examples=300, deadline=None)
@given(text=st.text("ab:@(),=[]{}'\"\\.+-*1 \n", max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_entry(text)
    except SettingError as error:
        assert error.message


def test_a_list_on_the_command_line_is_cut_outside_of_brackets() -> None:
    typed = "conv2d(6, kernel=[3, 1]), relu, 'flatten'"
    cut = ["conv2d(6, kernel=[3, 1])", "relu", "flatten"]
    assert listed(typed) == listed(f"[{typed}]") == cut
    given_ = {"model.name": "sequential", "model.layers": f"[{typed}]"}
    assert validate(given_)["model.layers"] == cut
    assert listed("it's, b") == ["it's", "b"] and listed("[0.2, 0.5]") == ["0.2", "0.5"]


# --- tying -----------------------------------------------------------------------------------


def test_tied_layers_count_once_and_train_once() -> None:
    model = made(TIED)
    assert tied_names(model) == {"shared4.weight": "shared.weight", "shared4.bias": "shared.bias"}
    assert sum(p.numel() for p in model.parameters()) == 64 * 65 + 65 * 10
    groups = parameter_groups(model, 0.1)
    assert [n for g in groups for n in g["names"]] == [
        "shared.weight", "head.weight", "shared.bias", "head.bias"
    ]  # fmt: skip
    untied = made([e.replace("@shared", "linear(64)").removeprefix("shared: ") for e in TIED])
    untied.load_state_dict(dict(zip(untied.state_dict(), model.state_dict().values(), strict=True)))
    x, y = torch.randn(5, 1, 8, 8), torch.arange(5)
    for each in (model, untied):
        nn.functional.cross_entropy(each(x), y).backward()
    both = untied.linear2.weight.grad + untied.linear4.weight.grad
    torch.testing.assert_close(model.shared.weight.grad, both)


def test_tied_weights_are_stored_once_and_loaded_into_all_their_places() -> None:
    model, other = made(TIED), build("sequential", DIGITS, {"layers": TIED})
    state = state_of(model)
    assert not any(name.startswith("shared4") for name in state)
    renamed = {n.replace("shared.", "shared4."): v for n, v in state.items()}
    for stored in (state, renamed, model.state_dict()):
        nn.init.zeros_(other.get_parameter("shared.weight"))
        load_exactly(other, stored)
        assert torch.equal(other(torch.ones(1, 1, 8, 8)), model(torch.ones(1, 1, 8, 8)))
        assert other.get_submodule("shared") is other.get_submodule("shared4")
    with pytest.raises(DataError, match=r"shared\.weight and shared4\.weight are one parameter"):
        load_exactly(other, state | {"shared4.weight": state["shared.weight"] + 1})
    with pytest.raises(DataError, match=r"missing in it: shared\.weight"):
        load_exactly(other, {n: v for n, v in state.items() if n != "shared.weight"})


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_tied_run_is_saved_resumed_and_loaded_tied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ema: float
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("fitwell.train.fit.CHECKPOINT_SECONDS", -1.0)
    told: dict[str, Any] = {"model.layers": TIED, "train.epochs": 4, "data.limit": 300}
    told["train.ema"] = ema

    def stop(event: str, **facts: Any) -> None:
        if event == "epoch" and facts["epoch"] == 3:
            raise KeyboardInterrupt  # after the checkpoint of the second epoch

    whole = fw.fit("digits", model="sequential", settings=told, out="whole")
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        fw.fit("digits", model="sequential", settings=told, out="cut", progress=stop)
    fw.resume("cut")
    assert Path("cut/best.safetensors").read_bytes() == Path("whole/best.safetensors").read_bytes()
    for file in ("best.safetensors", "last/state.safetensors"):
        with safe_open(f"whole/{file}", "pt") as stored:
            assert any("shared.weight" in key for key in stored.keys())
            assert not any("shared4" in key for key in stored.keys())
    model: Any = load_model(whole)[0]
    assert model.shared is model.shared4
    assert not np.array_equal(model.shared.weight.detach(), made(TIED).shared.weight.detach())
    assert whole.scores["test"]["accuracy"] > 0.5


def test_the_command_line_takes_layers_and_shows_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    layers = "model.layers=conv2d(4, kernel=[3, 1]), relu, flatten, a: linear(9), @a"
    with pytest.raises(AssertionError):
        assert run(["show", "digits", "--model", "sequential", layers, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert "entry 5 of 5, '@a', which gets [9]" in said["error"]["message"]
    assert (
        run(["show", "digits", "--model", "sequential", layers.replace(", @a", ""), "--json"]) == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert [row["output"] for row in said["layers"]] == [[4, 6, 8], [4, 6, 8], [192], [9], [10]]
