"""Mistakes that people make in loops of their own, each beside the loop without it."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from loops import Told, classes, loss_of, mlp, one_step, rmse, trained
from torch import Tensor, nn
from torch.optim import Optimizer

import fitwell as fw
from fitwell.probes.loss_graph import read_loss


@pytest.mark.parametrize("rows", [32, 600])  # of 600 the sample of examples is full at once
def test_gradients_that_are_never_cleared(pictures: tuple[Tensor, ...], rows: int) -> None:
    def carried(optimizer: Optimizer, value: Tensor) -> None:
        value.backward()
        optimizer.step()

    model = mlp()
    sgd = torch.optim.SGD(model.parameters(), 0.01)
    found = trained(model, pictures, optimizer=sgd, step=carried, batch=rows, epochs=3)
    assert "not cleared between steps" in found["lr_too_high"]


@pytest.mark.parametrize("to_none", [True, False])
def test_gradients_that_are_added_up_on_purpose(
    to_none: bool, pictures: tuple[Tensor, ...]
) -> None:
    calls = iter(range(10**6))

    def every_second(optimizer: Optimizer, value: Tensor) -> None:
        (value / 2).backward()
        if next(calls) % 2:
            optimizer.step()
            optimizer.zero_grad(set_to_none=to_none)

    assert "lr_too_high" not in trained(mlp(), pictures, step=every_second, epochs=4)


def test_a_head_that_the_optimizer_does_not_clear_is_not_taken_for_gradients_that_stay(
    pictures: tuple[Tensor, ...],
) -> None:
    model = mlp()
    adam = torch.optim.Adam(model.parameters(), 1e-3)
    model[4] = nn.Linear(64, 10)
    found = trained(model, pictures, optimizer=adam, epochs=4)
    assert "no_gradient" in found and "lr_too_high" not in found


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("loss", [lambda o, t: (o - t).square().mean(), F.mse_loss, F.l1_loss])
def test_targets_of_another_shape_are_compared_in_pairs(
    loss: Callable[..., Tensor], numbers: tuple[Tensor, ...]
) -> None:
    model = mlp(inputs=10, outputs=1)
    found = trained(model, numbers, loss=loss, score=rmse, epochs=4)
    assert "broadcast to [N, N]" in found["head_loss_mismatch"]

    def right(out: Tensor, target: Tensor) -> Tensor:
        return loss(out.squeeze(-1), target)

    whole = trained(mlp(inputs=10, outputs=1), numbers, loss=right, score=rmse, epochs=4)
    assert "head_loss_mismatch" not in whole


def test_a_loss_of_ranks_compares_outputs_with_each_other() -> None:
    out = nn.Linear(3, 1)(torch.randn(8, 3))
    ranks = F.softplus(out - out.squeeze(-1)).mean()
    assert not read_loss(ranks, [out]).pairs
    assert read_loss((out - torch.randn(8)).square().mean(), [out]).pairs


class Recurrent(nn.Module):
    """Rows of a picture, read one after the other; or, with the axes mistaken, pictures of a batch."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.net, self.head = nn.GRU(8, 32, batch_first=batch_first), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.net(x.view(-1, 8, 8))[0][:, -1])


class Attentive(nn.Module):
    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.net = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first, dropout=0.0)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.net(x.view(-1, 8, 8)).flatten(1))


class Along(nn.Module):
    def __init__(self, axis: int) -> None:
        super().__init__()
        self.net, self.axis = mlp(), axis

    def forward(self, x: Tensor) -> Tensor:
        return (self.net(x).softmax(self.axis) + 1e-9).log()


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (lambda: Recurrent(False), lambda: Recurrent(True)),
        (lambda: Attentive(False), lambda: Attentive(True)),
        (lambda: Along(0), lambda: Along(1)),
    ],
)
def test_examples_of_a_batch_that_see_one_another(
    wrong: Callable[[], nn.Module],
    right: Callable[[], nn.Module],
    pictures: tuple[Tensor, ...],
) -> None:
    assert "others in its batch" in trained(wrong(), pictures, epochs=2)["leakage"]
    assert "leakage" not in trained(right(), pictures, epochs=2)


class Drawn(nn.Module):
    """Adds noise in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + 0.1 * torch.randn_like(x))


class Remembering(nn.Module):
    """Adds the last picture that it saw before to all that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.last = mlp(), torch.zeros(64)

    def forward(self, x: Tensor) -> Tensor:
        out = self.net(x + self.last)
        self.last = x[-1].detach()
        return out


@pytest.mark.parametrize("build", [Drawn, Remembering])
def test_chance_and_memory_do_not_mix_a_batch(
    build: Callable[[], nn.Module], pictures: tuple[Tensor, ...]
) -> None:
    assert "leakage" not in trained(build(), pictures, epochs=2)


def test_a_sequence_model_whose_first_axis_is_time_mixes_nothing() -> None:
    torch.manual_seed(0)
    words = torch.randint(20, (12, 12, 1)).float()  # as many places as sequences
    net = nn.Sequential(nn.Linear(1, 16), nn.TransformerEncoderLayer(16, 2, 16), nn.Linear(16, 20))
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    with fw.watch(net, adam) as watch:
        for _ in range(12):
            loss = F.cross_entropy(net(words).flatten(0, 1), words.long().flatten())
            adam.zero_grad()
            loss.backward()
            adam.step()
            watch.step(loss)
    assert "leakage" not in {finding.name for finding in watch.diagnose(show=False)}


def test_inputs_that_do_not_belong_to_their_labels(pictures: tuple[Tensor, ...]) -> None:
    x, *rest = pictures
    apart = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    found = trained(mlp(), (apart, *rest), epochs=12)
    assert "gives 0.1" in found["no_better_than_trivial"] and "stopped_too_early" not in found
    assert "no_better_than_trivial" not in trained(mlp(), pictures, epochs=5)


def test_losses_alone_tell_guessing_too(pictures: tuple[Tensor, ...]) -> None:
    def loss_alone(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
        return {"loss": classes(model, x, y)["loss"]}

    x, *rest = pictures
    found = trained(mlp(), (x.roll(1, 0), *rest), score=loss_alone, epochs=4)
    assert "validation loss" in found["no_better_than_trivial"]
    found = trained(mlp(), pictures, score=loss_alone, epochs=4)
    assert "no_better_than_trivial" not in found


@pytest.mark.parametrize("told", ["rmse", "loss", "dollars"])
def test_numbers_whose_inputs_are_those_of_others(numbers: tuple[Tensor, ...], told: str) -> None:
    x, y, x_new, y_new = numbers
    other = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(out.squeeze(-1), y)

    def score(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
        error = rmse(model, x, y)["rmse"]
        return (
            {"loss": error**2}
            if told == "loss"
            else {"rmse": error * (77 if told == "dollars" else 1)}
        )

    def found(y: Tensor) -> Told:
        model = mlp(inputs=10, outputs=1)
        return trained(model, (x, y, x_new, y_new), loss=loss, score=score, epochs=15)

    shuffled = found(y[other])
    assert ("mean of the targets" in shuffled.get("no_better_than_trivial", "")) == (
        told != "dollars"
    )
    assert "no_better_than_trivial" not in found(y)


def test_a_validation_in_training_mode(pictures: tuple[Tensor, ...]) -> None:
    def as_it_is(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
        with torch.no_grad():
            return loss_of(model(x), y)

    def dropping(share: float = 0.3) -> nn.Sequential:
        return nn.Sequential(mlp(outputs=32), nn.Dropout(share), nn.Linear(32, 10))

    assert "training mode" in trained(dropping(), pictures, score=as_it_is, epochs=4)["shift"]
    assert "shift" not in trained(dropping(), pictures, epochs=4)
    still = dropping()
    still[1].eval()
    for nothing_differs in (mlp(), dropping(0.0), still):
        assert "shift" not in trained(nothing_differs, pictures, score=as_it_is, epochs=4)


def test_batch_normalisation_of_two_examples(pictures: tuple[Tensor, ...]) -> None:
    def normed() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))

    x, y, *rest = pictures
    few = (x[:200], y[:200], *rest)
    assert "of 2 numbers of a channel" in trained(normed(), few, batch=2, epochs=2)["shift"]
    assert "shift" not in trained(normed(), few, batch=20, epochs=2)


@pytest.mark.parametrize("factor", [16, 1 / 16])
def test_inputs_that_are_evaluated_on_another_scale(
    pictures: tuple[Tensor, ...], factor: float
) -> None:
    def otherwise(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
        return classes(model, factor * x, y)

    found = trained(mlp(), pictures, score=otherwise, epochs=4)
    assert "not prepared alike" in found["shift"]
    assert f"{factor:.2g}"[:3] in found["shift"]


def test_inputs_that_are_centred_in_training_alone(pictures: tuple[Tensor, ...]) -> None:
    x, y, x_new, y_new = pictures
    mean, spread = x.mean(), x.std()

    def centred(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
        return classes(model, (x - mean) / spread, y)

    data = ((x - mean) / spread, y, x_new, y_new)
    assert "shift" in trained(mlp(), data, epochs=4)
    assert "shift" not in trained(mlp(), data, score=centred, epochs=4)


def test_examples_that_come_sorted(pictures: tuple[Tensor, ...]) -> None:
    x, y, *_ = pictures
    order = y.argsort()
    torch.manual_seed(0)
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for rows, expected in ((order, True), (torch.arange(len(y)), False)):
        with fw.watch(model, optimizer) as watch:
            for part in rows.split(32):
                watch.step(one_step(model, optimizer, x[part], y[part]))
        found = {f.name: f.sentence for f in watch.diagnose(show=False).findings}
        assert ("come sorted" in found.get("shift", "")) == expected


@pytest.mark.parametrize("anew", [True, False])
def test_batches_that_start_anew_each_time(pictures: tuple[Tensor, ...], anew: bool) -> None:
    x, y, x_new, y_new = pictures
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    with fw.watch(model, optimizer) as watch:
        for _ in range(15):
            for start in range(0, 160, 32):
                rows = slice(0, 32) if anew else slice(start, start + 32)
                watch.step(one_step(model, optimizer, x[rows], y[rows]))
            watch.epoch(validation=classes(model, x_new, y_new))
    found = {f.name: f.sentence for f in watch.diagnose(show=False).findings}
    assert ("the same 32 examples" in found.get("overfitting", "")) == anew


@pytest.mark.parametrize("outside", [True, False])
def test_a_step_that_stands_outside_the_loop_over_batches(
    pictures: tuple[Tensor, ...], outside: bool
) -> None:
    x, y, x_new, y_new = pictures
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with fw.watch(model, optimizer) as watch:
        for _ in range(6):
            batches = torch.randperm(len(x)).split(32)
            for rows in batches:
                if outside and rows is not batches[-1]:
                    F.cross_entropy(model(x[rows]), y[rows])
                else:
                    watch.step(one_step(model, optimizer, x[rows], y[rows]))
            watch.epoch(validation=classes(model, x_new, y_new))
    found = {f.name: f.sentence for f in watch.diagnose(show=False).findings}
    assert ("outside the loop" in found.get("no_gradient", "")) == outside


def test_gradients_of_many_passes_that_are_added_up_before_one_loss_is_told(
    pictures: tuple[Tensor, ...],
) -> None:
    x, y, *_ = pictures
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with fw.watch(model, optimizer) as watch:
        for _ in range(8):
            for number, rows in enumerate(torch.randperm(len(x)).split(16), start=1):
                value = F.cross_entropy(model(x[rows]), y[rows]) / 10
                value.backward()
                if number % 10 == 0:
                    optimizer.step()
                    optimizer.zero_grad()
                    watch.step(value * 10)
    assert "no_gradient" not in {f.name for f in watch.diagnose(show=False).findings}


@pytest.mark.parametrize("before", [True, False])
def test_a_cell_that_is_called_for_each_step_of_a_sequence(before: bool) -> None:
    """Forty passes have a part in one loss, told before or after its backward."""
    torch.manual_seed(0)
    cell = nn.RNNCell(4, 16)
    optimizer = torch.optim.Adam(cell.parameters(), 1e-3)
    x = torch.randn(40, 8, 4)
    with fw.watch(cell, optimizer) as watch:
        for _ in range(6):
            state = torch.zeros(8, 16)
            for moment in x:
                state = cell(moment, state)
            value = (state - x.sum(0).repeat(1, 4).sign()).square().mean()
            if before:
                watch.step(value)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            if not before:
                watch.step(value)
    assert "no_gradient" not in {f.name for f in watch.diagnose(show=False).findings}


def test_what_is_evaluated_before_the_training_uses_up_no_comparison(
    pictures: tuple[Tensor, ...],
) -> None:
    x, y, x_new, _ = pictures
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with fw.watch(model, optimizer) as watch:
        for factor in (1, 16):
            with torch.no_grad():
                for _ in range(80):
                    model(factor * x_new[:64])
            for rows in torch.arange(len(x)).split(64):
                watch.step(one_step(model, optimizer, x[rows], y[rows]))
    assert "not prepared alike" in {f.name: f.sentence for f in watch.diagnose(show=False)}["shift"]
