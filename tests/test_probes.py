"""Probes against naive twins, and the promise that they change nothing."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor, nn

from fitwell.probes import Probes, is_activation, linearity, name_nonfinite, weight_layers
from fitwell.record import Row

Make = Callable[[Iterator[nn.Parameter]], torch.optim.Optimizer]

ACTIVATIONS = [
    nn.ReLU(),
    nn.ReLU(inplace=True),
    nn.Sigmoid(),
    nn.Tanh(),
    nn.LeakyReLU(),
    nn.LeakyReLU(inplace=True),
    nn.GELU(),
    nn.SiLU(),
    nn.SiLU(inplace=True),
    nn.ELU(),
    nn.SELU(),
    nn.PReLU(),
    nn.PReLU(6),
    nn.Hardswish(),
    nn.Mish(),
    nn.Hardtanh(),
    nn.ReLU6(),
    nn.Softplus(),
]


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(4 * 36, 8),
        nn.Sigmoid(),
        nn.Dropout(0.5),
        nn.Linear(8, 3),
    )


def _train(probed: bool, make: Make, steps: int = 4) -> tuple[nn.Sequential, list[Row]]:
    model = _net()
    torch.manual_seed(1)
    optimizer = make(model.parameters())
    probes = Probes(model)
    rows: list[Row] = []
    for step in range(steps):
        x, y = torch.randn(16, 1, 8, 8), torch.randint(0, 3, (16,))
        if probed:
            probes.before_step()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        if probed:
            probes.after_backward()
        optimizer.step()
        if probed:
            rows += probes.after_step(step, 0)
            model.eval()
            with probes.watch_activations() as watched, torch.no_grad():
                model(x)
            rows += watched.rows(step, 0)
            model.train()
    return model, rows


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
        lambda p: torch.optim.Adam(p, lr=0.01),
    ],
    ids=["sgd", "adam"],
)
def test_weights_and_buffers_are_the_same_bits_with_and_without(make: Make) -> None:
    with_probes, _ = _train(True, make)
    without, _ = _train(False, make)
    for name, value in without.state_dict().items():
        assert torch.equal(value, with_probes.state_dict()[name]), name
    assert _hooks(with_probes) == 0


def test_step_rows_equal_a_naive_twin() -> None:
    model = _net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    probes = Probes(model)
    x, y = torch.randn(16, 1, 8, 8), torch.randint(0, 3, (16,))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    probes.before_step()
    nn.functional.cross_entropy(model(x), y).backward()
    grads = {n: _gradient(p).clone() for n, p in model.named_parameters()}
    probes.after_backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    rows = probes.after_step(7, 2)
    assert [r["layer"] for r in rows] == ["0", "4", "7"]
    assert [r["index"] for r in rows] == [0, 1, 2]
    for row in rows:
        name = row["layer"] + ".weight"
        now = dict(model.named_parameters())[name].detach()
        assert (row["step"], row["epoch"], row["kind"]) == (7, 2, "step")
        assert row["grad_rms"] == pytest.approx(grads[name].square().mean().sqrt().item(), rel=1e-5)
        assert row["weight_rms"] == pytest.approx(
            before[name].square().mean().sqrt().item(), rel=1e-5
        )
        expected = (now - before[name]).norm() / before[name].norm()
        assert row["update_ratio"] == pytest.approx(expected.item(), rel=1e-5)


def test_signal_is_measured_where_it_enters_and_leaves_each_layer() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    probes = Probes(model)
    x = 3 * torch.randn(16, 4)
    probes.before_step()
    model(x).sum().backward()
    model(100 * x)  # the first call counts
    probes.after_backward()
    first, last = probes.after_step(0, 0)
    hidden = model[0](x)
    assert first["input_rms"] == pytest.approx(x.square().mean().sqrt().item())
    assert first["output_rms"] == pytest.approx(hidden.square().mean().sqrt().item())
    assert last["input_rms"] == pytest.approx(hidden.relu().square().mean().sqrt().item())
    assert _hooks(model) == 0


def first_step(model: nn.Module, x: Tensor, *, fresh: bool = True) -> dict[str, Row]:
    probes = Probes(model, fresh=fresh)
    probes.before_step()
    nn.functional.cross_entropy(model(x), torch.arange(len(x)) % 3).backward()
    probes.after_backward()
    return {row["layer"]: row for row in probes.after_step(0, 0)}


def test_twins_are_units_that_no_step_tells_apart() -> None:
    def net(draw: Callable[[Tensor], object]) -> nn.Sequential:
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3)
        )
        for weight in model.parameters():
            draw(weight) if weight.dim() > 1 else nn.init.zeros_(weight)
        return model

    x = torch.randn(16, 4)
    constant = first_step(net(lambda w: nn.init.constant_(w, 0.1)), x)
    assert constant["0"]["twins"] == constant["2"]["twins"] == 1.0
    drawn = first_step(net(nn.init.xavier_uniform_), x)
    assert {row["twins"] for row in drawn.values()} == {0.0}
    assert "twins" not in first_step(net(nn.init.xavier_uniform_), x, fresh=False)["0"]
    # A last layer of zeros: equal weights, but gradients of their own.
    model = net(nn.init.xavier_uniform_)
    nn.init.zeros_(model.get_parameter("4.weight"))
    assert first_step(model, x)["4"]["twins"] == 0.0
    # Half of the units copied from the other half, with what they are read by.
    model = net(nn.init.xavier_uniform_)
    with torch.no_grad():
        first, second = (model.get_parameter(f"{i}.weight") for i in (0, 2))
        first[4:], second[:, 4:] = first[:4], second[:, :4]
    assert first_step(model, x)["0"]["twins"] == 1.0


def test_update_is_the_real_one_and_not_lr_times_gradient() -> None:
    # Adam's first step moves every weight by lr, whatever the size of the gradient.
    model = nn.Linear(4, 4, bias=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    probes = Probes(model)
    probes.before_step()
    (1e3 * model(torch.randn(8, 4)).square().mean()).backward()
    probes.after_backward()
    before = model.weight.detach().clone()
    optimizer.step()
    [row] = probes.after_step(0, 0)
    assert row["update_ratio"] == pytest.approx(0.01 * 4 / before.norm().item(), rel=1e-3)


def test_depth_is_the_order_of_the_forward_pass_and_frozen_layers_have_no_row() -> None:
    class Reversed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(4, 2)
            self.frozen = nn.Linear(4, 4).requires_grad_(False)
            self.first = nn.Linear(3, 4)
            self.scale = nn.Parameter(torch.ones(2, 2))

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.frozen(self.first(x))) @ self.scale

    model = Reversed()
    probes = Probes(model)
    probes.before_step()
    model(torch.randn(5, 3)).sum().backward()
    probes.after_backward()
    rows = probes.after_step(0, 0)
    assert [r["layer"] for r in rows] == ["first", "last", "scale"]
    assert all(r["update_ratio"] == 0 for r in rows)


def test_tied_weights_are_one_layer_and_missing_gradients_are_none() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert list(weight_layers(model)) == ["0", "2"]
    probes = Probes(model)
    probes.before_step()
    model[:2](torch.randn(2, 4)).sum().backward()
    probes.after_backward()
    rows = probes.after_step(0, 0)
    assert rows[0]["grad_rms"] > 0 and rows[1]["grad_rms"] is None
    assert _hooks(model) == 0


def test_nonfinite_numbers_are_none() -> None:
    model = nn.Linear(2, 2)
    probes = Probes(model)
    probes.before_step()
    (model(torch.ones(1, 2)) * math.inf).sum().backward()
    probes.after_backward()
    with torch.no_grad():
        model.weight.fill_(math.nan)
    [row] = probes.after_step(0, 0)
    assert row["grad_rms"] is None and row["update_ratio"] is None


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: repr(a))
def test_dead_and_saturated_equal_finite_differences(activation: nn.Module) -> None:
    # Unit k sees pre-activations around the k-th shift, so that some units are dead or saturated.
    torch.manual_seed(0)
    shifts = torch.tensor([-30.0, -4.0, -1.0, 0.0, 2.0, 12.0])
    x = (torch.randn(64, 6) + shifts).double()
    twin = type(activation)(6) if repr(activation) == repr(nn.PReLU(6)) else type(activation)()
    twin = twin.double()
    h = 1e-6
    with torch.no_grad():
        slope = ((twin(x + h) - twin(x - h)) / (2 * h)).abs()
        grid = torch.linspace(-10.0005, 10, 20001).double()[:, None].expand(-1, 6)
        top = ((twin(grid + h) - twin(grid - h)) / (2 * h)).abs().max()
    probes = Probes(activation)
    with probes.watch_activations() as watched:
        for part in x.float().split(20):
            activation(part)
    [row] = watched.rows(3, 1)
    assert row["kind"] == "epoch" and row["rows"] == 64 and row["units"] == 6
    assert row["activation"] == type(activation).__name__.lower()
    assert row["dead"] == pytest.approx((slope.amax(0) <= 1e-6 * top).double().mean().item())
    assert row["saturated"] == pytest.approx((slope.mean(0) < 0.05 * top).double().mean().item())
    assert is_activation(activation)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_units_are_channels_features_or_last_axis(
    mode: Callable[[], AbstractContextManager[object]],
) -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 5, 3), nn.ReLU(inplace=True), nn.Flatten(1), nn.Linear(45, 7), nn.Tanh()
    )
    tokens = nn.Sequential(nn.Linear(3, 6), nn.GELU())
    series = nn.Sequential(nn.Conv1d(2, 4, 3), nn.GELU())
    with mode():
        for model, x, units in [
            (net, torch.randn(8, 1, 5, 5), [5, 7]),
            (tokens, torch.randn(8, 9, 3), [6]),
            (series, torch.randn(8, 2, 9), [4]),
        ]:
            expected = model(x.clone())
            with Probes(model).watch_activations() as watched:
                assert torch.equal(model(x.clone()), expected)
            assert [r["units"] for r in watched.rows(0, 0)] == units
            assert _hooks(model) == 0


def test_dead_counts_units_inactive_on_every_row_only() -> None:
    layer = nn.Linear(2, 4)
    model = nn.Sequential(layer, nn.ReLU())
    with torch.no_grad():
        layer.weight.fill_(0)
        layer.bias.copy_(torch.tensor([-1.0, -1.0, -1.0, 1.0]))
        layer.weight[1, 0] = 10.0  # active on the one row with a large first feature
    x = torch.zeros(100, 2)
    x[3, 0] = 1
    with Probes(model).watch_activations() as watched:
        model(x[:50])
        model(x[50:])
    [row] = watched.rows(0, 0)
    assert row["dead"] == 0.5 and row["saturated"] == 0.75 and row["layer"] == "1"


def test_one_module_used_twice_is_two_activations() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.act = nn.Linear(3, 4), nn.Linear(4, 5), nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.b(self.act(self.a(x))))

    with Probes(model := Twice()).watch_activations() as watched:
        model(torch.randn(6, 3))
        model(torch.randn(6, 3))
    rows = watched.rows(0, 0)
    assert [(r["layer"], r["units"], r["rows"]) for r in rows] == [("act", 4, 12), ("act#2", 5, 12)]


def test_name_nonfinite_names_weights_then_layers_and_changes_nothing() -> None:
    model = _net()
    dense, head = model[4], model[7]
    assert isinstance(dense, nn.Linear) and isinstance(head, nn.Linear)
    x = torch.randn(4, 1, 8, 8)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert name_nonfinite(model, x) == ""
    assert "input" in name_nonfinite(model, x / 0)
    assert model.training and _hooks(model) == 0
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    with torch.no_grad():
        dense.weight.mul_(1e38)
    assert "layer 4 (Linear)" in name_nonfinite(model, x * 1e6)
    with torch.no_grad():
        head.bias[0] = math.nan
    assert name_nonfinite(model, x) == "layer 7: its bias is not finite"


def test_an_averaged_copy_can_be_watched() -> None:
    model = _net()
    average = torch.optim.swa_utils.AveragedModel(model)
    probes = Probes(model)
    with probes.watch_activations(average.module) as watched:
        average.module(torch.randn(4, 1, 8, 8))
    assert [r["layer"] for r in watched.rows(0, 0)] == ["2", "5"]
    assert _hooks(average) == 0


def test_linearity_sees_what_the_layers_do_and_leaves_them_as_they_were() -> None:
    x = torch.randn(32, 4)
    deep = nn.Sequential(nn.Linear(4, 8), nn.Dropout(), nn.BatchNorm1d(8), nn.Linear(8, 2)).train()
    row = linearity(deep, x)
    assert row is not None and row["layers"] == 2 and row["deviation"] < 1e-5
    assert all(module.training for module in deep.modules())
    assert deep[2].state_dict()["num_batches_tracked"] == 0

    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x).relu())

    row = linearity(Functional(), x)
    assert row is not None and row["deviation"] > 0.01 and row["joined"] == []
    separable = nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 8, 1), nn.ReLU())
    whole = nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 8, 1), nn.ReLU())
    for network, joined in ((separable, []), (whole, [("0", "1")])):
        row = linearity(network, torch.randn(4, 3, 8, 8))
        assert row is not None and row["joined"] == joined
    constant = nn.Linear(4, 2)
    nn.init.zeros_(constant.weight)
    assert linearity(constant, x) is None
    assert linearity(nn.Linear(4, 2), x[:1]) is None
    assert linearity(nn.Embedding(9, 2), torch.arange(9)) is None
