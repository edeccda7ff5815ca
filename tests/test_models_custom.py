"""A user's own model by import path."""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from torch import nn

import fitwell as fw
from fitwell import store
from fitwell.errors import SettingError
from fitwell.models import build, load_builder
from fitwell.spec import Spec

SPEC = Spec("table", "classification", (4,), ("a", "b", "c"))
SOURCE = """
    from __future__ import annotations
    from typing import Annotated
    import torch
    from pydantic import Field
    from torch import nn

    def tiny(spec, *, width: Annotated[int, Field(ge=1)] = 8, deep: bool = False) -> nn.Module:
        "A tiny net."
        return nn.Sequential(nn.Linear(*spec.input_shape, width), nn.ReLU(),
                             nn.Linear(width, spec.num_outputs))

    def by_name(*, spec, width=3):
        return tiny(spec, width=width)

    class Net(nn.Module):
        def __init__(self, hidden=5, rate=0.5):
            super().__init__()
            self.layers = nn.Sequential(nn.LazyLinear(hidden), nn.Dropout(rate), nn.LazyLinear(3))
        def forward(self, x):
            return self.layers(x)

    def required(spec, *, size: int):
        return tiny(spec, width=size)

    def two(spec, other):
        return tiny(spec)

    def wrong_output(spec):
        return nn.Linear(4, 7)

    def no_forward(spec):
        return nn.Linear(9, 3)

    def not_a_model(spec):
        return [1, 2]

    def raising(spec):
        raise KeyError("inside")

    class Plain:
        pass

    built = nn.Linear(4, 3)
    number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in the current folder, named as no other; gone afterwards."""
    name = "own_nets_for_fitwell"
    own = ("own_broken_net", "own_exiting_net", "own_needy_net", "no_such_module_here")
    monkeypatch.setenv("FITWELL_TRUST", ",".join((name, f"{name}.sub", "", *own)))
    (tmp_path / f"{name}.py").write_text(dedent(SOURCE))
    (tmp_path / "own_broken_net.py").write_text("1 / 0")
    (tmp_path / "own_exiting_net.py").write_text("raise SystemExit(0)")
    (tmp_path / "own_needy_net.py").write_text("import a_module_nobody_has")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    yield name
    sys.modules.pop(name, None)


def test_function_with_spec_and_settings(module: str) -> None:
    model: Any = build(f"{module}:tiny", SPEC, {"width": 6})
    assert model[0].out_features == 6
    assert model(torch.zeros(5, 4)).shape == (5, 3)
    builder = load_builder(f"{module}:tiny")
    settings = dict(list(inspect.signature(builder).parameters.items())[1:])
    assert list(settings) == ["width", "deep"]
    assert all(p.kind is p.KEYWORD_ONLY for p in settings.values())
    assert settings["deep"].annotation is bool  # read from text, as `annotations` leaves it
    assert builder.__doc__ == "A tiny net."


def test_class_without_spec_and_with_lazy_layers(module: str) -> None:
    model: Any = build(f"{module}:Net", SPEC, {"hidden": 2})
    assert model.layers[0].weight.shape == (2, 4)
    assert model.training and model.layers[1].training  # as it was built, after the trial pass
    parameters = inspect.signature(load_builder(f"{module}:Net")).parameters
    assert parameters["hidden"].annotation is int and parameters["rate"].annotation is float


def test_spec_by_name(module: str) -> None:
    model: Any = build(f"{module}:by_name", SPEC, {})
    assert model[0].out_features == 3


def test_every_build_is_fresh(module: str) -> None:
    one, two = (next(build(f"{module}:tiny", SPEC, {}).parameters()) for _ in range(2))
    assert not torch.equal(one, two)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tiny", "import path"),
        (":tiny", "import path"),
        ("{m}:", "import path"),
        ("{m}:a b", "import path"),
        ("no_such_module_here:net", "no module 'no_such_module_here'"),
        ("{m}.sub:net", "no module"),
        ("own_needy_net:net", "needs the module 'a_module_nobody_has'"),
        ("own_broken_net:net", "ZeroDivisionError"),
        ("own_exiting_net:net", "SystemExit"),
        ("{m}:tinny", "Did you mean tiny"),
        ("{m}:built", "built already"),
        ("{m}:number", "is a int"),
        ("{m}:Plain", "not one of torch.nn.Module"),
        ("{m}:two", "spec, other"),
        ("{m}:wrong_output", r"\(2, 7\)"),
        ("{m}:no_forward", r"input of shape \(2, 4\)"),
        ("{m}:not_a_model", "gave a list"),
        ("{m}:raising", "KeyError"),
    ],
)
def test_each_mistake_has_its_sentence(module: str, name: str, said: str) -> None:
    path = name.format(m=module)
    with pytest.raises(SettingError, match=said) as caught:
        load_builder(path) if path == "tiny" else build(path + ":" * (path == "tiny"), SPEC, {})
    assert caught.value.setting == "model.name" and caught.value.exit_code == 2


def test_settings_are_checked(module: str) -> None:
    with pytest.raises(SettingError, match="Did you mean width") as caught:
        build(f"{module}:tiny", SPEC, {"widht": 3})
    assert caught.value.setting == "model.widht"
    with pytest.raises(SettingError, match="no default") as caught:
        build(f"{module}:required", SPEC, {})
    assert caught.value.setting == "model.size"
    assert isinstance(build(f"{module}:required", SPEC, {"size": 2}), nn.Module)


def test_a_users_file_never_shadows_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('shadowed')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with pytest.raises(SettingError, match="colorsys has no"):
        load_builder("colorsys:net")


def test_code_that_only_a_run_from_elsewhere_names_is_refused(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fitwell as fw

    monkeypatch.setenv("FITWELL_TRUST", "")
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "cache"))
    Path("evil.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    Path("recipe.toml").write_text('source = "wine"\n[model]\nname = "evil:net"\n')
    with pytest.raises(SettingError, match=r"If you trust it, name it yourself .*--model evil:net"):
        fw.show("recipe.toml")
    assert not Path("ran").exists()
    quick = {"train.epochs": 1, "data.folds": 2}
    run = fw.fit("wine", model=f"{module}:by_name", settings=quick, out="mine")
    assert fw.evaluate("mine")["scores"] and fw.cv(run, settings=quick, out="folds").trials
    assert (tmp_path / "cache" / "trusted-models.txt").read_text() == f"{module}:by_name\n"
    monkeypatch.setenv("FITWELL_CACHE", str(tmp_path / "another machine"))
    with pytest.raises(SettingError, match="FITWELL_TRUST"):
        fw.evaluate("mine")


MIXING = """
import torch

class Net(torch.nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.net = torch.nn.GRU(8, 16)  # batch_first is missing
        self.head = torch.nn.Linear(16, spec.num_outputs)

    def forward(self, x):
        return self.head(self.net(x[:, 0])[0][:, -1])
"""


def test_a_network_that_takes_the_batch_for_time_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mixing_net.py").write_text(MIXING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    store.trust_model("mixing_net:Net")
    settings = {"train.epochs": 1, "data.limit": 300, "model.name": "mixing_net:Net"}
    run = fw.fit("digits", settings=settings)
    assert "others in its batch" in next(iter(fw.diagnose(run))).sentence
