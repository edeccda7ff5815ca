"""Loops as people write them: what a review with a hundred of them found wrong in the watching."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from loops import digits, mlp, one_step
from sklearn.datasets import load_diabetes
from torch import Tensor, nn

import fitwell as fw


def names(found: Any) -> set[str]:
    return {finding.name for finding in found}


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def same_bits(build: Callable[[], nn.Module], x: Tensor, y: Tensor) -> None:
    """A training of three epochs ends in the same weights with and without being watched."""
    ends = []
    for watched in (False, True):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        model = build()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        watch = fw.watch(model, optimizer) if watched else None
        for _ in range(3):
            for rows in torch.arange(len(x)).split(50):
                loss = one_step(model, optimizer, x[rows], y[rows])
                if watch:
                    watch.step(loss)
            if watch:
                watch.epoch()
                watch.diagnose(show=False)
        if watch:
            watch.close()
        ends.append(weights(model))
    assert torch.equal(*ends)


class Stateful(nn.Module):
    """Adds the mean of what it saw last, which it keeps as no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()
        self.last = torch.zeros(64)
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        out = self.net(x + 0.1 * self.last)
        self.last = x.detach().mean(0)
        return out


class InPlace(Stateful):
    def forward(self, x: Tensor) -> Tensor:
        out = self.net(x + 0.1 * self.last)
        self.last.mul_(0.5).add_(x.detach().mean(0))
        return out


class Marked(Stateful):
    """Notes that it was evaluated, and is another network from then on."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            self.evaluated = True
        return self.net(-x if hasattr(self, "evaluated") else x)


class LayerDrop(nn.Module):
    """Leaves a layer out at random, by the numbers of Python and of NumPy."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        if random.random() < 0.5 or np.random.random() < 0.3:
            x = self.second(x).relu()
        return self.head(x)


@pytest.mark.parametrize("build", [Stateful, InPlace, Marked, LayerDrop])
def test_what_a_model_keeps_or_draws_by_itself_stays_as_it_is(build: Any) -> None:
    x, y = digits()
    same_bits(build, x[:300], y[:300])


def test_sparse_gradients() -> None:
    torch.manual_seed(0)
    words = torch.randint(0, 300, (200, 12))
    y = (words < 40).any(1).long()
    model = nn.Sequential(nn.EmbeddingBag(300, 16, sparse=True), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    with fw.watch(model, optimizer) as watch:
        for _ in range(3):
            for rows in torch.arange(200).split(20):
                watch.step(one_step(model, optimizer, words[rows], y[rows]))
    steps = [row for row in watch.run.probes if row["kind"] == "step"]
    assert all(row["grad_rms"] > 0 for row in steps) and watch.run.steps[0]["grad_norm"] > 0
    assert "bad_init" not in names(watch.diagnose(show=False))


def test_rows_of_an_embedding_that_no_batch_held_yet_are_no_twins() -> None:
    torch.manual_seed(0)
    words = torch.randint(0, 30, (64, 4))
    table, head = nn.Embedding(3000, 8), nn.Linear(8, 2)
    nn.init.zeros_(table.weight)

    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = table, head

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.table(x).mean(1))

    model = Bag()
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    with fw.watch(model, optimizer) as watch:
        watch.step(one_step(model, optimizer, words, (words.sum(1) > 58).long()))
    twins = {row["layer"]: row.get("twins") for row in watch.run.probes if row["kind"] == "step"}
    assert (twins["table"] or 0.0) < 0.5


@pytest.mark.parametrize("part", ["before_step", "after_backward", "after_step"])
def test_what_fails_in_looking_ends_no_loop(part: str) -> None:
    x, y = digits()
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with fw.watch(model, optimizer) as watch:
        setattr(watch._probes, part, lambda *_: 1 / 0)
        with pytest.warns(UserWarning, match="ZeroDivisionError") as warned:
            for _ in range(21):
                watch.step(one_step(model, optimizer, x[:64], y[:64]))
        assert len(warned) == 1
    assert len(watch.run.steps) == 21 and watch.run.steps[-1]["loss"] < watch.run.steps[0]["loss"]
    (row,) = [row for row in watch.run.evidence if row["experiment"] == "sample"]
    assert row["examples"] == 512  # what was asked for is still told


def test_layers_of_a_second_optimizer_move_too() -> None:
    x, y = digits()
    torch.manual_seed(0)
    model = mlp()
    optimizers = [
        torch.optim.SGD(model[:2].parameters(), 0.1),  # type: ignore[index]
        torch.optim.Adam(model[2:].parameters(), 0.01),  # type: ignore[index]
    ]
    with fw.watch(model, optimizers) as watch:
        for _ in range(5):
            for rows in torch.arange(600).split(60):
                loss = F.cross_entropy(model(x[rows]), y[rows])
                for optimizer in optimizers:
                    optimizer.zero_grad()
                loss.backward()
                for optimizer in optimizers:
                    optimizer.step()
                watch.step(loss)
    moved = [row["update_ratio"] for row in watch.run.probes if row["kind"] == "step"]
    assert len({row["layer"] for row in watch.run.probes}) > 1 and min(moved) > 0
    assert "no_gradient" not in names(watch.diagnose(show=False))
    found = fw.inspect(model, F.cross_entropy, optimizers, (x[:64], y[:64]), show=False)
    assert "no_gradient" not in names(found)


@pytest.mark.parametrize("every", [1, 5])  # batches a step
def test_a_loss_told_before_its_backward(every: int) -> None:
    x, y = digits()
    torch.manual_seed(0)
    big = nn.Sequential(nn.Linear(64, 2000), nn.ReLU(), nn.Linear(2000, 2000), nn.Linear(2000, 10))
    optimizer = torch.optim.SGD(big.parameters(), 0.05)
    with fw.watch(big, optimizer) as watch:
        for _ in range(2):
            for place, rows in enumerate(torch.arange(600).split(60)):
                loss = F.cross_entropy(big(x[rows]), y[rows]) / every
                watch.step(loss)
                loss.backward()
                if place % every == every - 1:
                    optimizer.step()
                    optimizer.zero_grad()
            watch.epoch()
    assert "slow_pipeline" not in names(watch.diagnose(show=False))
    assert {"sample", "first_loss"} <= {row["experiment"] for row in watch.run.evidence}


def test_a_training_at_rest_has_no_rate_that_is_too_low() -> None:
    table: Any = load_diabetes()
    x, y = (torch.tensor(v).float() for v in (table.data, table.target[:, None]))
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()

    def trained(rate: float) -> Any:
        torch.manual_seed(0)
        model = nn.Linear(10, 1)
        optimizer = torch.optim.SGD(model.parameters(), rate, weight_decay=1e-2)
        with fw.watch(model, optimizer) as watch:
            for _ in range(1500):
                watch.step(one_step(model, optimizer, x, y, F.mse_loss))
        return watch.diagnose(show=False)

    assert "lr_too_low" not in names(trained(0.2))
    slow = {finding.name: finding for finding in trained(1e-6)}
    assert "times the rate" in slow["lr_too_low"].sentence


def test_steps_that_are_a_part_of_the_loss_are_no_shift() -> None:
    x, y = digits()
    torch.manual_seed(0)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.2)
    with fw.watch(model, optimizer) as watch:
        for _ in range(6):
            for place, rows in enumerate(torch.arange(800).split(25)):
                loss = F.cross_entropy(model(x[rows]), y[rows]) / 8
                loss.backward()
                if place % 8 == 7:
                    optimizer.step()
                    optimizer.zero_grad()
                watch.step(loss)
            with torch.no_grad():
                watch.epoch(train={"loss": float(F.cross_entropy(model(x[:800]), y[:800]))})
    assert "shift" not in names(watch.diagnose(show=False))


def test_inspect_leaves_gradients_and_random_numbers() -> None:
    x, y = digits()
    model = mlp()

    def penalised(said: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(said, y) + 1e-4 * sum(p.square().sum() for p in model.parameters())

    random.seed(3)
    np.random.seed(3)
    wanted = (random.random(), float(np.random.random()))
    random.seed(3)
    np.random.seed(3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    fw.inspect(model, penalised, optimizer, (x[:32], y[:32]), show=False)
    assert all(p.grad is None for p in model.parameters())
    assert (random.random(), float(np.random.random())) == wanted


def test_inspect_counts_a_batch_once() -> None:
    x, y = digits()
    for rows, enough in ((12, False), (64, True)):
        model = mlp()
        nn.init.constant_(model[0].bias, -100.0)  # type: ignore[arg-type]
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        found = fw.inspect(model, F.cross_entropy, optimizer, (x[:rows], y[:rows]), show=False)
        told = [f.sentence for f in found if f.name == "dying_relu"]
        assert bool(told) == enough and all(f"{rows} training examples" in text for text in told)


@pytest.mark.parametrize("start", [0.0, 1e-3])
def test_inspect_looks_at_the_rate_that_a_warm_up_leads_to(start: float) -> None:
    x, y = digits()
    torch.manual_seed(0)
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(start, step / 100))
    found = fw.inspect(model, F.cross_entropy, optimizer, (x[:32], y[:32]), show=False)
    assert not {"no_gradient", "cannot_fit_one_batch", "lr_too_low"} & names(found)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-2 * start)


def test_inspect_takes_lbfgs_soft_targets_and_several_heads() -> None:
    x, y = digits()
    torch.manual_seed(0)
    model = mlp()
    optimizer: torch.optim.Optimizer = torch.optim.LBFGS(model.parameters(), 0.5)
    found = fw.inspect(model, F.cross_entropy, optimizer, (x[:32], y[:32]), show=False)
    assert not names(found)
    copier = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))
    optimizer = torch.optim.Adam(copier.parameters(), 3e-3)
    shares = x[:32] / x.max()
    batch = (shares, shares)
    found = fw.inspect(copier, nn.BCEWithLogitsLoss(), optimizer, batch, show=False)
    assert "cannot_fit_one_batch" not in names(found)

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.digit, self.odd = nn.Linear(64, 64), nn.Linear(64, 10), nn.Linear(64, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = self.body(x).relu()
            return self.digit(x), self.odd(x)

    def both(said: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        return F.cross_entropy(said[1], y % 2) + F.cross_entropy(said[0], y)

    two = Two()
    optimizer = torch.optim.Adam(two.parameters(), 3e-3)
    assert not names(fw.inspect(two, both, optimizer, (x[:32], y[:32]), show=False))


class Scaled(nn.Module):
    """Divides what it is given itself."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x / 255)


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (mlp, True),
        (Scaled, False),
        (lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), mlp()), False),
    ],
)
def test_inputs_that_the_model_scales_itself_are_not_unscaled(
    build: Callable[[], nn.Module], told: bool
) -> None:
    x, y = digits()
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with fw.watch(model, optimizer) as watch:
        for rows in torch.arange(600).split(60):
            watch.step(one_step(model, optimizer, x[rows] * 255, y[rows]))
    assert ("unscaled_inputs" in names(watch.diagnose(show=False))) == told


@pytest.mark.parametrize(("rate", "told"), [(0.01, False), (0.1, True)])
def test_a_first_step_larger_than_the_weights(rate: float, told: bool) -> None:
    """Adam's first step is the rate itself; units that die of it are its effect."""
    x, y = digits()
    torch.manual_seed(0)
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), rate)
    with fw.watch(model, optimizer) as watch:
        for step in range(200):
            rows = slice(step * 32 % 1400, step * 32 % 1400 + 32)
            loss = F.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.step(loss)
    found = watch.diagnose(show=False).findings
    assert bool(found and found[0].name == "lr_too_high") == told
    assert not told or "larger than the weights" in found[0].sentence


@pytest.mark.parametrize(("dropped", "told"), [(0.5, False), (0.9, True)])
def test_dropout_that_leaves_too_little(dropped: float, told: bool) -> None:
    x, y = digits()
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(dropped)),
        *(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(dropped)),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with fw.watch(model, optimizer) as watch:
        for _ in range(12):
            for rows in torch.randperm(1500).split(50):
                loss = F.cross_entropy(model(x[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                watch.step(loss)
            watch.epoch()
    found = watch.diagnose(show=False).findings
    assert bool(found and found[0].name == "over_regularised") == told


@pytest.mark.parametrize("watched", ["discriminator", "generator"])
def test_two_networks_against_each_other(watched: str) -> None:
    x, _ = digits()
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.Sigmoid())
    discriminator = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    first = torch.optim.Adam(discriminator.parameters(), 2e-4)
    second = torch.optim.Adam(generator.parameters(), 2e-4)
    one, other = torch.ones(64, 1), torch.zeros(64, 1)
    loss = F.binary_cross_entropy_with_logits
    own = (discriminator, first) if watched == "discriminator" else (generator, second)
    with fw.watch(*own) as watch:
        for rows in torch.randint(len(x), (20, 64)):
            first.zero_grad()
            made = generator(torch.randn(64, 16))
            real = loss(discriminator(x[rows]), one) + loss(discriminator(made.detach()), other)
            real.backward()
            first.step()
            second.zero_grad()
            fooled = loss(discriminator(made), one)
            fooled.backward()
            second.step()
            watch.step(real if watched == "discriminator" else fooled)
    # The gradient of the one goes through the other, and is cleared there later.
    assert not names(watch.diagnose(show=False)) & {"lr_too_high", "head_loss_mismatch"}


@pytest.mark.parametrize(
    ("end", "loss", "name"),
    [
        (nn.Softmax(1), lambda o, y: F.nll_loss((o + 1e-8).log(), y), "nll_of_probabilities"),
        (nn.Softmax(1), lambda o, y: F.nll_loss(o.log(), y), "nll_of_probabilities"),
        (nn.Tanh(), lambda o, y: F.cross_entropy(10 * o, y), "cross_entropy"),
        (nn.ReLU(), lambda o, y: F.cross_entropy(o @ torch.eye(10), y), ""),
    ],
    ids=["log", "bare log", "soft cap", "head outside"],
)
def test_what_a_loop_makes_of_the_outputs_before_its_loss(
    end: nn.Module, loss: Any, name: str
) -> None:
    x, y = digits()
    model = mlp(end)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with fw.watch(model, optimizer) as watch:
        for rows in torch.randint(len(x), (60, 64)):
            watch.step(one_step(model, optimizer, x[rows], y[rows], loss))
    assert watch.seen.reading is not None and watch.seen.reading.name == name
    assert "head_loss_mismatch" not in names(watch.diagnose(show=False))
    if name == "nll_of_probabilities":
        assert watch.seen.first_loss == pytest.approx(watch.run.steps[0]["loss"], rel=1e-3)
        assert watch.run.scores["train"]["accuracy"] > 0.8
        assert watch.run.predictions["train"].probabilities.sum(1) == pytest.approx(1, abs=1e-5)  # type: ignore[union-attr]


@pytest.mark.parametrize("skipped", [True, False])
def test_a_loss_that_is_not_a_number_once(skipped: bool) -> None:
    x, y = digits()
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with fw.watch(model, optimizer) as watch:
        for place, rows in enumerate(torch.randint(len(x), (60, 64))):
            loss = F.cross_entropy(model(x[rows] / float(place != 30)), y[rows])
            optimizer.zero_grad()
            loss.backward()
            if loss.isfinite() or not skipped:
                optimizer.step()
            watch.step(loss)
    assert watch.run.status == ("done" if skipped else "failed")
    assert ("lr_too_high" in names(watch.diagnose(show=False))) is not skipped


@pytest.mark.parametrize("every", [1, 2])  # batches a step
def test_losses_told_ahead_stand_beside_their_own_steps(every: int) -> None:
    x, y = digits()
    told: dict[bool, Any] = {}
    for ahead in (False, True):
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with fw.watch(model, optimizer) as watch:
            for place, rows in enumerate(torch.arange(600).split(50)):
                loss = F.cross_entropy(model(x[rows]), y[rows])
                if ahead:
                    watch.step(loss)
                loss.backward()
                if place % every == every - 1:
                    optimizer.step()
                if not ahead:
                    watch.step(loss)
                if place % every == every - 1:
                    optimizer.zero_grad()
                if place == 5:
                    watch.epoch()
        told[ahead] = watch.run
    assert len(told[True].steps) == 12 // every
    assert told[True].steps == told[False].steps  # losses, gradients, examples and epochs
    assert [row["examples"] for row in told[True].epochs] == [300]
    moved = [
        [r["update_ratio"] for r in run.probes if r["kind"] == "step" and r["step"] < 5]
        for run in told.values()
    ]
    assert moved[0] == pytest.approx(moved[1])


@pytest.mark.parametrize("joined", [False, True])
def test_of_many_places_some_outputs_are_kept(joined: bool) -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(5000, 8), nn.Linear(8, 5000)

        def forward(self, x: Tensor) -> Tensor:
            said = self.head(self.embedding(x))
            return said.flatten(0, 1) if joined else said

    model = Words()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    loss: Any = lambda o, y: F.cross_entropy(o.reshape(-1, 5000), y.flatten())  # noqa: E731
    with fw.watch(model, optimizer) as watch:
        for _ in range(10):
            x = torch.randint(5000, (8, 50))
            watch.step(one_step(model, optimizer, x, x.roll(-1, 1), loss))
    kept = [own for own in watch.seen.outputs if own is not None]
    assert len(kept) == 10 and sum(own.rows.size for own in kept) <= 2**22
    (row,) = [row for row in watch.run.evidence if row["experiment"] == "sample"]
    assert row["examples"] == sum(len(own.rows) for own in kept) and "accuracy" in row


def test_outputs_of_passes_whose_losses_are_never_told_do_not_pile_up() -> None:
    model = nn.Linear(4, 2**20)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with fw.watch(model, optimizer) as watch:
        for _ in range(6):
            model(torch.randn(20, 4)).mean().backward()  # 80 MiB
            optimizer.step()
            optimizer.zero_grad()
            assert len(watch._passes._passes) <= 3


def test_an_end_that_cannot_be_looked_at_ends_no_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("an odd model")

    monkeypatch.setattr("fitwell.watching.session.conclude", fail)
    x, y = digits()
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.warns(UserWarning, match="odd model.*of the end less is told"):
        with fw.watch(model, optimizer) as watch:
            watch.step(one_step(model, optimizer, x[:64], y[:64]))
    assert not model._forward_hooks and not optimizer._optimizer_step_post_hooks
    assert watch.run.status == "done" and len(watch.run.steps) == 1
    assert len(watch.diagnose(show=False)) == 0


def test_sigmoids_are_no_shares_of_one_whole() -> None:
    x, y = digits()
    model = mlp(nn.Sigmoid())
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    loss: Any = lambda o, y: F.nll_loss((o / o.sum(1, keepdim=True)).log(), y)  # noqa: E731
    with fw.watch(model, optimizer) as watch:
        for rows in torch.randint(len(x), (10, 64)):
            watch.step(one_step(model, optimizer, x[rows], y[rows], loss))
    (found,) = [f for f in watch.diagnose(show=False) if f.name == "head_loss_mismatch"]
    assert "shares of one whole" in found.sentence
