"""`fitwell.watch`: somebody else's loop, seen from outside and left as it is."""

import copy
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from loops import Detached, digits, mlp, one_step
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn

import fitwell as fw
from fitwell.errors import FolderError, SettingError
from fitwell.findings import RULES
from fitwell.probes.loss_graph import LossReading, class_axis, read_loss, targets_of
from fitwell.watching.conclude import drawn
from fitwell.watching.fitting import fit_of

Loss = Callable[[Any, Tensor], Tensor]


def train(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    loss: Loss = F.cross_entropy,
    optimizer: torch.optim.Optimizer | None = None,
    lr: float = 0.1,
    epochs: int = 8,
    batch: int = 64,
    watched: bool = True,
) -> fw.Watch | None:
    """A plain loop, as anybody would write it."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr, momentum=0.9)
    watch = fw.watch(model, optimizer) if watched else None
    order = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=order).split(batch):
            value = one_step(model, optimizer, x[rows], y[rows], loss)
            if watch is not None:
                watch.step(value)
    if watch is not None:
        watch.close()
    return watch


def names(watch: fw.Watch | None) -> list[str]:
    assert watch is not None
    return [finding.name for finding in watch.diagnose(show=False)]


class Recurrent(nn.Module):
    """An LSTM and an attention with layer normalisation, a frozen layer and tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.lstm = nn.LSTM(8, 16, batch_first=True)
        self.attention = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.one = nn.Linear(16, 16)
        self.two = nn.Linear(16, 16)
        self.two.weight = self.one.weight
        self.norm = nn.BatchNorm1d(16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(self.frozen(x.unflatten(1, (8, 8))))
        y = self.attention(y).mean(1)
        return self.head(F.dropout(self.norm(self.two(F.relu(self.one(y)))), 0.2, self.training))


@pytest.mark.parametrize("build", [mlp, Recurrent])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weights_are_the_same_bits_and_hooks_are_gone(
    build: Callable[[], nn.Module], optimizer: str
) -> None:
    x, y = digits()
    found = []
    for watched in (False, True):
        torch.manual_seed(3)
        model = build()
        kind: Any = torch.optim.SGD if optimizer == "sgd" else torch.optim.AdamW
        torch.manual_seed(4)
        own = kind(model.parameters(), 0.01)
        train(model, x[:500], y[:500], optimizer=own, epochs=3, watched=watched)
        found.append((model.state_dict(), torch.rand(3), own.state_dict()["state"]))
        hooks = [
            *(m._forward_hooks for m in model.modules()),
            *(m._forward_pre_hooks for m in model.modules()),
            own._optimizer_step_pre_hooks,
            own._optimizer_step_post_hooks,
        ]
        assert not any(hooks)
    (plain, drawn, state), (seen, also, state_seen) = found
    assert all(torch.equal(plain[name], seen[name]) for name in plain)
    assert torch.equal(drawn, also)
    for one, other in zip(state.values(), state_seen.values(), strict=True):
        assert all(torch.equal(torch.as_tensor(one[k]), torch.as_tensor(other[k])) for k in one)


def test_a_healthy_loop_has_no_findings() -> None:
    watch = train(mlp(), *digits())
    assert names(watch) == []
    assert watch is not None
    steps, run = watch.run.steps, watch.run
    assert len(steps) == 8 * 29 and all(row["loss"] is not None for row in steps)
    assert {row["lr"] for row in steps} == {0.1} and steps[-1]["examples"] == 1797 - 28 * 64
    assert run.scores["train"]["accuracy"] > 0.98 and run.status == "done"
    layers = {row["layer"] for row in run.probes if row["kind"] == "step"}
    assert layers == {"0", "2", "4"}
    assert {row["layer"] for row in run.probes if row["kind"] == "epoch"} == {"1", "3"}


def test_the_recorded_update_is_what_the_weights_moved() -> None:
    torch.manual_seed(0)
    model, (x, y) = mlp(), digits()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    with fw.watch(model, optimizer) as watch:
        loss = F.cross_entropy(model(x[:64]), y[:64])
        loss.backward()
        optimizer.step()
        watch.step(loss)
    rows = [row for row in watch.run.probes if row["kind"] == "step"]
    for row in rows:
        name = f"{row['layer']}.weight"
        moved = (model.get_parameter(name) - before[name]).norm() / before[name].norm()
        assert row["update_ratio"] == pytest.approx(moved.item(), rel=1e-5)


# What a loss is, from its graph.

LOSSES: dict[str, tuple[nn.Module | None, Loss, LossReading]] = {
    "cross-entropy": (None, F.cross_entropy, LossReading(0, "cross_entropy", "")),
    "softmax": (nn.Softmax(1), F.cross_entropy, LossReading(0, "cross_entropy", "softmax")),
    "sigmoid": (nn.Sigmoid(), F.cross_entropy, LossReading(0, "cross_entropy", "sigmoid")),
    "relu": (nn.ReLU(), F.cross_entropy, LossReading(0, "cross_entropy", "relu")),
    "outside": (
        None,
        lambda o, y: F.cross_entropy(o.softmax(1), y),
        LossReading(0, "cross_entropy", "softmax"),
    ),
    "log-softmax": (nn.LogSoftmax(1), F.nll_loss, LossReading(0, "cross_entropy", "")),
    "nll": (nn.Softmax(1), F.nll_loss, LossReading(0, "nll", "softmax")),
    "by hand": (
        nn.Softmax(1),
        lambda o, y: F.nll_loss(o.log(), y),
        LossReading(0, "nll_of_probabilities", "softmax"),
    ),
    "guarded by hand": (
        nn.Softmax(1),
        lambda o, y: F.nll_loss((o + 1e-8).log(), y),
        LossReading(0, "nll_of_probabilities", "softmax"),
    ),
    "shares of sigmoids": (
        nn.Sigmoid(),
        lambda o, y: F.nll_loss((o / o.sum(1, keepdim=True)).clamp(1e-7, 1).log(), y),
        LossReading(0, "nll_of_probabilities", "sigmoid"),
    ),
    "all by hand": (
        None,
        lambda o, y: F.nll_loss(o.softmax(1).clamp(min=1e-8).log(), y),
        LossReading(0, "cross_entropy", ""),
    ),
    "head of its own": (
        nn.ReLU(),
        lambda o, y: F.cross_entropy(o @ torch.eye(3), y),
        LossReading(0, "", ""),
    ),
    "soft cap": (
        nn.Tanh(),
        lambda o, y: F.cross_entropy(30 * o, y),
        LossReading(0, "cross_entropy", ""),
    ),
    "tempered": (
        nn.Softmax(1),
        lambda o, y: F.cross_entropy(o / 0.5, y),
        LossReading(0, "cross_entropy", "softmax"),
    ),
    "smoothed": (
        None,
        lambda o, y: F.cross_entropy(o, y, label_smoothing=0.1),
        LossReading(0, "cross_entropy", ""),
    ),
    "mse": (
        None,
        lambda o, y: F.mse_loss(o, F.one_hot(y, 3).float()),
        LossReading(0, "mse", ""),
    ),
    "square": (
        nn.Tanh(),
        lambda o, y: ((o - F.one_hot(y, 3)) ** 2).mean(),
        LossReading(0, "mse", "tanh"),
    ),
    "mae": (None, lambda o, y: (o - F.one_hot(y, 3)).abs().mean(), LossReading(0, "mae", "")),
    "bce": (
        nn.Sigmoid(),
        lambda o, y: F.binary_cross_entropy(o, F.one_hot(y, 3).float()),
        LossReading(0, "bce_of_probabilities", "sigmoid"),
    ),
    "logits": (
        None,
        lambda o, y: F.binary_cross_entropy_with_logits(o, F.one_hot(y, 3).float()),
        LossReading(0, "binary_cross_entropy", ""),
    ),
    "huber": (
        None,
        lambda o, y: F.smooth_l1_loss(o, F.one_hot(y, 3).float()),
        LossReading(0, "huber", ""),
    ),
    "other": (None, lambda o, y: o.exp().mean(), LossReading(0, "", "")),
}


@pytest.mark.parametrize("case", LOSSES)
@pytest.mark.parametrize("backward", [False, True])
def test_a_loss_is_known_by_its_graph(case: str, backward: bool) -> None:
    end, loss, expected = LOSSES[case]
    model = nn.Sequential(nn.Linear(4, 3), *([end] if end else []))
    said = model(torch.randn(6, 4))
    value = loss(said, torch.tensor([0, 1, 2, 0, 1, 2]))
    if backward:
        value.backward()
    assert read_loss(value, [said], model.parameters()) == expected


def test_penalties_in_a_loss_are_told_from_other_outputs() -> None:
    model = nn.Linear(4, 3)
    x, y = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    said = model(x)
    plain = F.cross_entropy(said, y)
    for penalty in (
        model.weight.abs().sum(),
        model.weight.square().sum(),
        model.weight.norm(),
        sum((p.pow(2).mean() for p in model.parameters()), torch.zeros(())),
    ):
        value = plain + 0.1 * penalty
        assert read_loss(value, [said], model.parameters()).penalty
        assert not read_loss(plain, [said], model.parameters()).penalty
    other = model(x * 2)  # a second call: its weights are no penalty
    value = plain + other.square().mean()
    assert not read_loss(value, [said], model.parameters()).penalty


@pytest.mark.parametrize(
    ("name", "loss", "classes"),
    [
        ("cross_entropy", F.cross_entropy, True),
        ("cross_entropy", lambda o, y: F.cross_entropy(o, y, label_smoothing=0.1), True),
        ("cross_entropy", lambda o, y: F.cross_entropy(o, y, reduction="sum"), True),
        ("cross_entropy", lambda o, y: F.cross_entropy(o, y, torch.tensor([1.0, 5, 2])), True),
        ("mse", F.mse_loss, False),
        ("mse", lambda o, y: F.mse_loss(o, y, reduction="sum"), False),
        ("binary_cross_entropy", F.binary_cross_entropy_with_logits, False),
        ("bce_of_probabilities", lambda o, y: F.binary_cross_entropy(o, y), False),
    ],
)
def test_what_was_asked_for_is_told_by_the_gradient(name: str, loss: Loss, classes: bool) -> None:
    random = torch.Generator().manual_seed(1)
    said = (2 * torch.randn(40, 3, generator=random)).requires_grad_()
    if name == "bce_of_probabilities":
        said = said.detach().sigmoid().requires_grad_()
    asked: Tensor = torch.randint(3, (40,), generator=random)
    if not classes:
        asked = torch.randn(40, 3, generator=random)
        asked = asked if name == "mse" else (asked > 0).float()
    value = loss(said, asked)
    (gradient,) = torch.autograd.grad(value, said)
    told = targets_of(name, said.detach(), gradient, value.item())
    assert told is not None
    torch.testing.assert_close(told, asked, atol=1e-4, rtol=1e-4)


def test_the_axis_of_the_classes_is_told_by_the_gradient() -> None:
    said = torch.randn(6, 5, 4, 3, requires_grad=True)
    for axis, classes in ((1, 5), (2, 4), (3, 3)):
        moved = said.movedim(axis, 1).contiguous()
        asked = torch.randint(classes, (6, *moved.shape[2:]))
        for name, loss in (
            ("cross_entropy", F.cross_entropy(moved, asked, label_smoothing=0.2)),
            ("nll", F.nll_loss(moved, asked)),
        ):
            (gradient,) = torch.autograd.grad(loss, said)
            assert class_axis(name, gradient) == axis
            half = gradient.bfloat16()  # of mixed precision
            assert class_axis(name, half.float()) == axis


def test_numbers_are_not_told_where_they_do_not_give_the_loss() -> None:
    said = torch.randn(40, 1, requires_grad=True)
    value = F.mse_loss(said, torch.randn(40, 1))
    (gradient,) = torch.autograd.grad(value, said)
    assert targets_of("mse", said.detach(), 3 * gradient, value.item()) is None
    assert targets_of("mse", said.detach(), gradient * torch.nan, value.item()) is None
    assert targets_of("", said.detach(), gradient, value.item()) is None


def test_ignored_labels_are_none() -> None:
    said = torch.randn(4, 3, requires_grad=True)
    y = torch.tensor([2, -100, 0, -100])
    value = F.cross_entropy(said, y)
    (gradient,) = torch.autograd.grad(value, said)
    told = targets_of("cross_entropy", said.detach(), gradient, value.item())
    assert told is not None and told.tolist() == [2, -1, 0, -1]


# What is wrong with a loop.


def test_a_head_that_does_not_belong_to_its_loss() -> None:
    for end in (nn.Softmax(1), nn.Sigmoid(), nn.ReLU()):
        watch = train(mlp(end), *digits(), epochs=3)
        assert names(watch)[:1] == ["head_loss_mismatch"], end
    hot: Loss = lambda o, y: F.mse_loss(o, F.one_hot(y, 10).float())  # noqa: E731
    assert names(train(mlp(), *digits(), loss=hot, epochs=3))[:1] == ["head_loss_mismatch"]


def test_parameters_that_are_not_trained() -> None:
    x, y = digits()
    model = mlp()
    optimizer = torch.optim.SGD(model[:1].parameters(), 0.1)  # type: ignore[index]
    watch = train(model, x, y, optimizer=optimizer, epochs=2)
    assert watch is not None
    (finding,) = [f for f in watch.diagnose(show=False) if f.name == "no_gradient"]
    assert finding.evidence["parameters"] == ["2.bias", "2.weight", "4.bias", "4.weight"]

    watch = train(Detached(), x, y, epochs=2)
    assert watch is not None
    (finding,) = [f for f in watch.diagnose(show=False) if f.name == "no_gradient"]
    assert finding.evidence["layers"] == ["body"]


def test_a_loop_without_a_step() -> None:
    model, (x, y) = mlp(), digits()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with fw.watch(model, optimizer) as watch:
        for _ in range(5):
            loss = F.cross_entropy(model(x[:32]), y[:32])
            loss.backward()
            watch.step(loss)
    (finding,) = [f for f in watch.diagnose(show=False) if f.name == "no_gradient"]
    assert "never called" in finding.sentence and finding.evidence["losses"] == 5


def test_units_that_start_alike_and_inputs_without_scale() -> None:
    model, (x, y) = mlp(), digits()
    nn.init.constant_(model[0].weight, 0.1)  # type: ignore[index, union-attr, arg-type]
    nn.init.zeros_(model[0].bias)  # type: ignore[index, union-attr, arg-type]
    nn.init.constant_(model[2].weight, 0.1)  # type: ignore[index, union-attr, arg-type]
    nn.init.zeros_(model[2].bias)  # type: ignore[index, union-attr, arg-type]
    assert "bad_init" in names(train(model, x, y, epochs=2))
    raw: Any = load_breast_cancer()
    table = torch.tensor(raw.data).float(), torch.tensor(raw.target)
    assert names(train(mlp(inputs=30, outputs=2), *table, lr=0.01))[:1] == ["unscaled_inputs"]


def test_a_rate_that_breaks_and_one_that_hardly_moves() -> None:
    x, y = digits()
    watch = train(mlp(), x, y, lr=1e25, epochs=2)
    assert names(watch)[:1] == ["lr_too_high"]
    assert watch is not None and watch.run.status == "failed" and "not finite" in watch.run.failure
    assert names(train(mlp(), x, y, lr=1e-6, epochs=2))[:1] == ["lr_too_low"]


def test_a_pass_whose_loss_was_never_told_leaves_nothing_behind() -> None:
    model, (x, y) = mlp(nn.Softmax(1)), digits()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with fw.watch(model, optimizer) as watch:
        for rows in torch.arange(960).split(64):
            model(x[rows].flip(1))  # left out by the loop, as a bad batch
            watch.step(one_step(model, optimizer, x[rows], y[rows]))
    assert names(watch)[:1] == ["head_loss_mismatch"]
    for call, rows in zip(watch.sample.calls, torch.arange(960).split(64), strict=False):
        assert torch.equal(call.args[0], x[rows])
        assert call.target is not None and call.target.tolist() == y[rows].tolist()


def test_the_kept_examples_are_looked_at_once_between_two_steps() -> None:
    model, (x, y) = mlp(), digits()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with fw.watch(model, optimizer) as watch:
        for _ in range(2):
            watch.step(one_step(model, optimizer, x[:64], y[:64]))
            watch.epoch()
            watch.diagnose(show=False)
    rows = [(r["step"], r["layer"]) for r in watch.run.probes if r["kind"] == "epoch"]
    # Before the first step, and after each.
    assert rows == [(step, layer) for step in (0, 0, 1) for layer in ("1", "3")]


def with_l1(model: nn.Module) -> Loss:
    first: Any = model.get_submodule("0")
    return lambda said, y: F.cross_entropy(said, y) + first.weight.abs().sum()


def test_a_penalty_that_is_too_strong() -> None:
    x, y = digits()
    model = mlp()
    penalised = with_l1(model)
    assert "over_regularised" in names(train(model, x, y, loss=penalised, lr=0.01, epochs=4))
    for kind, lr, decay in ((torch.optim.SGD, 0.05, 0.5), (torch.optim.AdamW, 1e-3, 100.0)):
        decayed: Any = mlp()
        optimizer = kind(decayed.parameters(), lr, weight_decay=decay)
        assert "over_regularised" in names(train(decayed, x, y, optimizer=optimizer, epochs=4))
    # What decay is usual pulls less than the data.
    usual = mlp()
    adamw = torch.optim.AdamW(usual.parameters(), 1e-3, weight_decay=0.01)
    watch = train(usual, x, y, optimizer=adamw, epochs=2)
    assert watch is not None
    pulls = [r["penalty_rms"] / r["data_rms"] for r in watch.run.probes if "data_rms" in r]
    assert pulls and max(pulls) < 0.1


def test_outputs_of_every_pixel_are_fitted_a_pixel_at_a_time() -> None:
    x, _ = digits(640)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))
    images = x.reshape(-1, 1, 8, 8)
    inked = (images[:, 0] > 0.25).long() + (images[:, 0] > 0.75).long()
    watch = train(model, images, inked)
    assert watch is not None
    (row,) = [r for r in watch.run.evidence if r["experiment"] == "sample"]
    with torch.no_grad():
        right = (model(images[:512]).argmax(1) == inked[:512]).float().mean()
    # Of some of the pixels of the kept examples, drawn at random.
    assert row["examples"] == 4096 and abs(row["accuracy"] - float(right)) < 0.03
    assert row["accuracy"] > 0.8
    # All over the image, and few of many words.
    places = drawn(20_000, 3, calls=2, seed=0)
    assert len(places) == len(set(places)) == 2048 and places.min() < 100 < 19_900 < places.max()
    assert len(drawn(20_000, 50_000, calls=1, seed=0)) == 83
    assert drawn(20, 3, calls=2, seed=0).tolist() == list(range(20))


class Words(nn.Module):
    """Says the next of 20 words at each of 12 places: [example, place, word]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(20, 32), nn.GRU(32, 64, batch_first=True)
        self.head = nn.Linear(64, 20)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(self.embedding(x))[0])


@pytest.mark.parametrize(
    "loss",
    [
        lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten()),
        lambda o, y: F.cross_entropy(o.transpose(1, 2), y),
        lambda o, y: F.cross_entropy(o[:, 1:].reshape(-1, 20), y[:, 1:].flatten()),
        lambda o, y: F.nll_loss(o.log_softmax(2).flatten(0, 1), y.flatten()),
        lambda o, y: F.cross_entropy(o.flatten(0, 1), y.flatten(), label_smoothing=0.1),
    ],
)
def test_the_words_of_a_language_model_are_its_classes(loss: Loss) -> None:
    torch.manual_seed(0)
    words = (torch.randint(20, (320, 1)) + torch.arange(13) * 3) % 20
    model = Words()
    adam = torch.optim.Adam(model.parameters(), 0.01)
    watch = train(model, words[:, :-1], words[:, 1:], loss=loss, optimizer=adam, batch=32)
    assert watch is not None
    assert watch.sample.calls[0].target is not None
    assert watch.sample.calls[0].target.shape == (32, 12)
    rows = {row["experiment"]: row for row in watch.run.evidence}
    assert rows["outputs"]["units"] == 20 and rows["first_loss"]["classes"] == 20
    assert rows["sample"]["accuracy"] > 0.95 and names(watch) == []


def test_the_first_loss_is_a_mean_of_the_data_whatever_the_loop_adds_to_it() -> None:
    x, y = digits()
    model = mlp()

    def summed(said: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(said, y, reduction="sum")

    def times_ten(said: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return 10 * F.cross_entropy(said, y)

    for loss in (with_l1(model), F.cross_entropy, summed, times_ten):
        with torch.no_grad():
            first = float(F.cross_entropy(model(x[:64]), y[:64]))
        watch = train(copy.deepcopy(model), x[:64], y[:64], loss=loss, lr=1e-6, epochs=1)
        assert watch is not None
        [row] = [r for r in watch.run.evidence if r["experiment"] == "first_loss"]
        assert row["loss"] == pytest.approx(first, abs=1e-4) and row["classes"] == 10
        assert "bad_init" not in {f.name for f in watch.diagnose(show=False)}


def test_how_well_outputs_fit_what_was_asked_for() -> None:
    asked = np.array([[1.0], [0], [1], [0], [0]])
    # Logits part at 0, probabilities at one half.
    said = np.array([[0.2], [-0.1], [3], [-2], [-0.4]])
    assert fit_of("binary_cross_entropy", said, asked) == ({"accuracy": 1.0}, 1.0)
    right, fit = fit_of("bce_of_probabilities", said, asked)
    assert right == {"accuracy": 0.8} and fit == pytest.approx(0.5)
    assert fit_of("bce_of_probabilities", said + 0.4, asked)[0] == {"accuracy": 1.0}
    # Squared errors of classes are judged as classes.
    hot = np.eye(3)[[0, 1, 2, 2]]
    assert fit_of("mse", 0.1 * hot + 5, hot) == ({"accuracy": 1.0}, 1.0)
    numbers, fit = fit_of("mse", 0.5 * said, 2 * said)
    assert numbers["rmse"] == pytest.approx(1.5 * float(np.sqrt((said**2).mean())))
    assert fit == pytest.approx(1 - 2.25 * float((said**2).mean()) / (4 * float(said.var())))


def test_targets_out_of_reach() -> None:
    x = torch.linspace(-3, 3, 200)[:, None]
    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1), nn.Sigmoid())
    watch = train(model, x, 50 + x.square(), loss=F.mse_loss, epochs=20)
    assert names(watch)[:1] == ["unreachable_targets"]


def test_batch_normalisation_that_lags_behind() -> None:
    x, y = digits()
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(64, momentum=0.0)  # running means that never move
    model = nn.Sequential(nn.Linear(64, 64), norm, nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    with fw.watch(model, optimizer) as watch:
        for _ in range(8):
            for rows in torch.randperm(len(x)).split(64):
                loss = F.cross_entropy(model(x[rows] - 3), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.step(loss)
        model.eval()  # as after a last evaluation
    assert "shift" in names(watch) and not norm.training


# Bad input, and other people's ways.


def test_settings_that_cannot_be_right_are_refused_before_any_step() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for lr, why in (
        (-0.1, "climbs the loss"),
        (0.0, "nothing would move"),
        (float("nan"), "a number"),
    ):
        optimizer.param_groups[0]["lr"] = lr
        with pytest.raises(SettingError, match=why) as error:
            fw.watch(model, optimizer)
        assert error.value.setting == "lr"
    optimizer.param_groups[0]["initial_lr"] = 0.1  # a scheduler that warms up from zero
    optimizer.param_groups[0]["lr"] = 0.0
    fw.watch(model, optimizer).close()
    with pytest.raises(SettingError, match="no parameters"):
        fw.watch(nn.ReLU(), optimizer)
    with pytest.raises(SettingError, match="no torch optimizer"):
        fw.watch(model, model)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="is no torch module"):
        fw.watch("mlp", optimizer)  # type: ignore[arg-type]


def test_a_loss_that_is_no_number_is_refused() -> None:
    with fw.watch(mlp()) as watch:
        for bad, why in ((torch.zeros(8), r"\[8\].*loss\.mean"), ("low", "str is no number")):
            with pytest.raises(SettingError, match=why):
                watch.step(bad)  # type: ignore[arg-type]
        with pytest.raises(SettingError, match="accuracy is 'good'"):
            watch.epoch(validation={"accuracy": "good"})  # type: ignore[dict-item]
        watch.step(1.5)
        watch.step(torch.tensor([2.0]))
    assert [row["loss"] for row in watch.run.steps] == [1.5, 2.0]


class Wrapped(nn.Module):
    """Gives its outputs in a tuple, a dict or an object."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner, self.kind = mlp(), kind

    def forward(self, x: Tensor, *, scale: float = 1.0) -> Any:
        said = self.inner(x) * scale
        if self.kind == "tuple":
            return {"features": x, "pair": (x, said)}
        return {"loss": None, "logits": said}


@pytest.mark.parametrize("kind", ["tuple", "dict"])
def test_models_that_give_a_tuple_or_a_dict(kind: str) -> None:
    loss: Loss = lambda o, y: F.cross_entropy(  # noqa: E731
        o["pair"][1].softmax(1) if kind == "tuple" else o["logits"].softmax(1), y
    )
    assert names(train(Wrapped(kind), *digits(), loss=loss, epochs=2))[:1] == ["head_loss_mismatch"]


def test_batches_of_one_several_steps_a_loss_and_several_losses_a_step() -> None:
    model, (x, y) = mlp(), digits()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with fw.watch(model, optimizer) as watch:
        for row in range(6):
            loss = F.cross_entropy(model(x[row : row + 1]), y[row : row + 1]) / 3
            loss.backward()
            if row % 3 == 2:
                optimizer.step()
                optimizer.zero_grad()
            watch.step(3 * loss.detach())
    assert len(watch.run.steps) == 2  # gradients of three losses a step
    with fw.watch(model, optimizer) as watch:
        for _ in range(3):
            loss = F.cross_entropy(model(x[:9]), y[:9])
            loss.backward()
            optimizer.step()
            optimizer.step()
            watch.step(loss)
    assert len(watch.run.steps) == 3 and watch.seen.updates == 6
    watch.diagnose(show=False)


def test_closures_and_scalers() -> None:
    x, y = digits()
    model = mlp()
    lbfgs = torch.optim.LBFGS(model.parameters(), max_iter=4, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        lbfgs.zero_grad()
        value = F.cross_entropy(model(x[:200]), y[:200])
        value.backward()
        return value

    with fw.watch(model, lbfgs) as watch:
        for _ in range(8):
            watch.step(lbfgs.step(closure))  # type: ignore[arg-type]
    assert watch.run.steps[-1]["loss"] < watch.run.steps[0]["loss"]
    assert watch.run.scores["train"]["accuracy"] > 0.5
    model = mlp()
    sgd, scaler = torch.optim.SGD(model.parameters(), 0.1), torch.amp.GradScaler("cpu", 1024.0)
    with fw.watch(model, sgd) as watch:
        for _ in range(20):
            sgd.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(x[:200]), y[:200])
            scaler.scale(loss).backward()
            scaler.step(sgd)
            scaler.update()
            watch.step(loss)
    assert len(watch.run.steps) == 20 and watch.run.steps[0]["grad_norm"] < 10


def test_compiled_and_wrapped_models() -> None:
    x, y = digits()
    model = mlp()
    compiled: Any = torch.compile(model, backend="eager")
    watch = train(compiled, x, y, epochs=6)
    assert names(watch) == []
    assert watch is not None
    assert {r["layer"] for r in watch.run.probes if r["kind"] == "step"} == {"0", "2", "4"}
    watch = train(nn.DataParallel(mlp()), x, y, epochs=6)
    assert names(watch) == []


DISTRIBUTED = """
import os, sys, torch, fitwell as fw
from torch import nn
torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
torch.manual_seed(0)
inner = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(1))
model = nn.parallel.DistributedDataParallel(inner)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
with fw.watch(model, optimizer) as watch:
    for step in range(10):
        loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        watch.step(loss)
layers = sorted({row["layer"] for row in watch.run.probes if row["kind"] == "step"})
print(layers, [finding.name for finding in watch.diagnose(show=False)][:1])
torch.distributed.destroy_process_group()
"""


def test_distributed_models() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DISTRIBUTED], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['0', '2'] ['head_loss_mismatch']"


def test_a_model_that_cannot_be_run_again_says_so() -> None:
    class Once(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.calls = mlp(), 0

        def forward(self, x: Tensor) -> Tensor:
            if not self.training:
                raise RuntimeError("only for training")
            return self.inner(x)

    watch = train(Once(), *digits(), epochs=2)
    assert watch is not None
    (row,) = [r for r in watch.run.evidence if r["experiment"] == "loop"]
    assert row["failure"] == "RuntimeError: only for training"
    watch.diagnose(show=False)


def test_epochs_their_scores_and_waiting() -> None:
    x, y = digits()
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with fw.watch(model, optimizer) as watch:
        for _ in range(3):
            for rows in torch.arange(320).split(64):
                time.sleep(0.02)  # reading
                if rows[0] == 128:  # an evaluation between two steps
                    with torch.no_grad():
                        model(x[320:])
                    time.sleep(0.05)
                watch.step(one_step(model, optimizer, x[rows], y[rows]))
            model.eval()
            time.sleep(0.05)
            accuracy = float((model(x[320:]).argmax(1) == y[320:]).float().mean())
            watch.epoch(validation={"loss": 1.0, "accuracy": accuracy})
            model.train()
    assert [row["epoch"] for row in watch.run.epochs] == [0, 1, 2]
    assert [row["examples"] for row in watch.run.epochs] == [320] * 3
    steps = [row["loss"] for row in watch.run.steps if row["epoch"] == 1]
    assert watch.run.epochs[1]["train"]["loss"] == pytest.approx(sum(steps) / 5)
    for row in watch.run.epochs:
        # Evaluations are no waiting, nor is what lies between one and the step before it.
        assert 0.08 - 4 * 5e-4 <= row["waiting"] * row["seconds"] < row["seconds"] - 0.12
    assert "slow_pipeline" in names(watch)


def test_reference_models_of_the_kept_examples() -> None:
    x, y = digits()
    watch = train(mlp(), x, y, lr=1e-6, epochs=1)
    assert watch is not None
    plain = {entry.name for entry in watch.diagnose(show=False).not_assessed}
    measured = watch.diagnose(measure=True, show=False)
    assert "underfitting" in plain
    assert "underfitting" in {finding.name for finding in measured}


def test_the_record_is_a_run_folder_and_the_report_a_page(tmp_path: Path) -> None:
    model, (x, y) = mlp(nn.Softmax(1)), digits()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with fw.watch(model, optimizer, out=tmp_path / "run") as watch:
        for rows in torch.arange(960).split(64):
            watch.step(one_step(model, optimizer, x[rows], y[rows]))
    assert [f.name for f in fw.diagnose(tmp_path / "run")] == names(watch)
    run = fw.open(tmp_path / "run")
    assert run.steps == watch.run.steps and run.status == "done"
    page = watch.report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Head loss mismatch" in page and "softmax" in page
    with pytest.raises(FolderError):
        fw.watch(model, optimizer, out=tmp_path / "run")


KILLED = """
import os, signal, sys, torch, fitwell as fw
from torch import nn
model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))
optimizer = torch.optim.SGD(model.parameters(), 0.1)
with fw.watch(model, optimizer, out=sys.argv[1]) as watch:
    for step in range(1000):
        x, y = torch.randn(8, 4), torch.randint(3, (8,))
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        watch.step(loss)
        if step == 350:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_record_of_a_killed_loop_can_be_diagnosed(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "run")], check=False)
    assert killed.returncode == -9
    run = fw.open(tmp_path / "run")
    assert len(run.steps) == 300 and run.status == "running"
    assert fw.diagnose(tmp_path / "run").rules == len(RULES)


def test_an_error_in_the_loop_is_the_loops(tmp_path: Path) -> None:
    model = mlp()
    with pytest.raises(ZeroDivisionError):
        with fw.watch(model, torch.optim.SGD(model.parameters(), 0.1)) as watch:
            watch.step(1.0)
            raise ZeroDivisionError
    assert watch.run.status == "interrupted"
    assert not model._forward_hooks
    watch.diagnose(show=False)
