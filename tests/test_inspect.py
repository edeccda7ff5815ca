"""`fitwell.inspect`: what is wrong before the first step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from loops import Detached, digits, mlp
from torch import Tensor, nn

import fitwell as fw
from fitwell.errors import SettingError
from fitwell.record import Finding
from fitwell.watching import inspection


def found(
    model: nn.Module,
    loss: Callable[[Any, Any], Tensor] = F.cross_entropy,
    optimizer: Any = "adam",
    examples: Any = None,
) -> dict[str, Finding]:
    if optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    diagnosis = fw.inspect(model, loss, optimizer, examples or digits(64), show=False)
    return {finding.name: finding for finding in diagnosis}


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """These batches are learned, or are not, in a third of the steps that are usual."""
    monkeypatch.setattr(inspection, "_MOST_STEPS", 200)


def test_nothing_is_wrong_with_a_good_start() -> None:
    assert found(mlp()) == {}
    assert found(mlp(), optimizer=None) == {}
    convolutions = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(1024, 10),
    )
    assert found(convolutions) == {}
    assert found(mlp(nn.Dropout(0.8))) == {}  # which hides what was learned, but in evaluation
    x, _ = digits(64)
    assert found(nn.Linear(64, 1), F.mse_loss, examples=(x, x[:, :8].sum(1, keepdim=True))) == {}


def test_the_model_stays_as_it_is() -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Dropout(0.5), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.eval()
    torch.manual_seed(7)
    found(model, optimizer=optimizer)
    drawn = torch.rand(2)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(2))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not optimizer.state and all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not model.training


@pytest.mark.parametrize("end", [nn.Softmax(1), nn.Sigmoid()])
def test_a_head_that_does_not_belong_to_its_loss(end: nn.Module) -> None:
    assert "head_loss_mismatch" in found(mlp(end))


def test_squared_errors_of_classes() -> None:
    x, y = digits(64)
    assert "head_loss_mismatch" in found(mlp(), F.mse_loss, examples=(x, F.one_hot(y, 10).float()))


def test_parameters_that_the_optimizer_lacks() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model[:3].parameters(), 0.1)
    finding = found(model, optimizer=optimizer)["no_gradient"]
    assert finding.evidence["parameters"] == ["4.bias", "4.weight"]


def test_a_layer_that_no_gradient_reaches() -> None:
    assert found(Detached())["no_gradient"].evidence["layers"] == ["body"]


@pytest.mark.parametrize("value", [0.0, 0.05])
def test_units_that_start_alike(value: float) -> None:
    model = mlp()
    for layer in (model[0], model[2]):
        nn.init.constant_(layer.weight, value)  # type: ignore[arg-type]
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    assert "bad_init" in found(model)


def test_a_first_loss_far_above_that_of_knowing_nothing() -> None:
    model = mlp()
    nn.init.normal_(model[4].weight, std=10.0)  # type: ignore[arg-type]
    finding = found(model)["bad_init"]
    assert finding.evidence["first_loss"] > 2 * np.log(10)
    assert finding.evidence["log_classes"] == pytest.approx(np.log(10), abs=1e-3)


def test_inputs_and_targets_without_scale() -> None:
    x, y = digits(64)
    assert "unscaled_inputs" in found(mlp(), examples=(1000 * x, y))
    raw = x.clone()
    raw[:, 20] *= 1e4
    assert "unscaled_inputs" in found(mlp(), examples=(raw, y))
    ages = 1e4 + 100 * x[:, 20:21]
    assert "unreachable_targets" in found(nn.Linear(64, 1), F.mse_loss, examples=(x, ages))


def test_dropout_before_batch_normalisation() -> None:
    layers = [nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(64), nn.Linear(64, 10)]
    finding = found(nn.Sequential(*layers))["shift"]
    assert finding.evidence["norms_behind_dropout"] == ["3"]
    layers[2], layers[3] = nn.BatchNorm1d(64), nn.Dropout(0.5)
    assert found(nn.Sequential(*layers)) == {}


def test_a_batch_that_cannot_be_learned_by_heart() -> None:
    x, _ = digits(64)
    blind = nn.Sequential(nn.Linear(64, 1), nn.ReLU(), nn.Linear(1, 10))
    finding = found(blind)["cannot_fit_one_batch"]
    assert finding.evidence["seeds_unfitted"] == 3 and finding.evidence["fit"] < 0.9
    contradicting = torch.cat([x[:8]] * 8), torch.arange(64) % 10
    assert "cannot_fit_one_batch" in found(mlp(), examples=contradicting)


def test_a_network_without_activations() -> None:
    torch.manual_seed(0)
    linear = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10))
    assert "linear_network" in found(linear)


class Several(nn.Module):
    """Takes two arguments and gives a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()

    def forward(self, x: Tensor, scale: Tensor) -> dict[str, Tensor]:
        return {"features": x, "logits": self.inner(x) * scale}


@pytest.mark.parametrize("named", [False, True])
def test_models_of_several_arguments(named: bool) -> None:
    x, y = digits(64)
    inputs: Any = {"x": x, "scale": torch.ones(1)} if named else (x, torch.ones(1))
    assert (
        found(Several(), lambda o, t: F.cross_entropy(o["logits"], t), examples=(inputs, y)) == {}
    )
    bad = found(
        Several(), lambda o, t: F.cross_entropy(o["logits"].softmax(1), t), examples=(inputs, y)
    )
    assert "head_loss_mismatch" in bad


def test_bad_input_is_said_before_anything_is_trained() -> None:
    x, y = digits(64)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(SettingError, match="is no pair"):
        fw.inspect(model, F.cross_entropy, optimizer, x)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=r"cannot take the batch.*shapes cannot be multiplied"):
        fw.inspect(model, F.cross_entropy, optimizer, (x[:, :9], y))
    with pytest.raises(SettingError, match=r"the loss is \[64\]"):
        fw.inspect(model, nn.CrossEntropyLoss(reduction="none"), optimizer, (x, y))
    with pytest.raises(SettingError, match="the loss is float"):
        fw.inspect(model, lambda o, t: 1.0, optimizer, (x, y))  # type: ignore[arg-type, return-value]
    norm = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    with pytest.raises(SettingError, match="of a single example batch normalisation"):
        fw.inspect(norm, F.cross_entropy, None, (x[:1], y[:1]))
    optimizer.param_groups[0]["lr"] = -1000.0
    with pytest.raises(SettingError, match="lr = -1000"):
        fw.inspect(model, F.cross_entropy, optimizer, (x, y))
    with pytest.raises(SettingError, match="no parameters"):
        fw.inspect(nn.ReLU(), F.cross_entropy, None, (x, y))


def test_a_batch_of_one_is_enough_without_batch_normalisation() -> None:
    assert "cannot_fit_one_batch" not in found(mlp(), examples=digits(1))


def test_it_prints_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    model = mlp(nn.Softmax(1))
    fw.inspect(model, F.cross_entropy, None, digits(64))
    assert "head_loss_mismatch" in capsys.readouterr().out
