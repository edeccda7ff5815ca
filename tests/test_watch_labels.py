"""Wrong labels and rare classes in loops of somebody else's, from the examples that a watch keeps."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from loops import digits, mlp, one_step
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn

import fitwell as fw
from fitwell import store
from fitwell.findings import diagnose
from fitwell.record import Diagnosis, Predictions, Run
from fitwell.watching.learning import Learning

WRONG = 0.12  # share of the labels


def flipped(y: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Labels of which some are wrong, and which."""
    drawn = torch.Generator().manual_seed(1)
    wrong = torch.rand(len(y), generator=drawn) < WRONG
    other = torch.randint(1, classes, (len(y),), generator=drawn)
    return torch.where(wrong, (y + other) % classes, y), wrong


def watched(
    x: Tensor,
    y: Tensor,
    *,
    told: bool = True,
    epochs: int = 20,
    binary: bool = False,
    out: Path | None = None,
    lr: float = 1e-3,
) -> tuple[Run, Diagnosis, Tensor]:
    """A training of four fifths in a known order, and which rows it saw in which."""
    torch.manual_seed(0)
    model = (
        nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 1)) if binary else mlp()
    )
    optimizer = torch.optim.Adam(model.parameters(), lr)
    border = len(x) * 4 // 5
    first = torch.empty(0, dtype=torch.long)

    def loss(rows: Any) -> Tensor:
        if binary:
            return F.binary_cross_entropy_with_logits(model(x[rows])[:, 0], y[rows].float())
        return F.cross_entropy(model(x[rows]), y[rows])

    with fw.watch(model, optimizer, out=out) as watch:
        for _ in range(epochs):
            order = torch.randperm(border)
            first = order if not len(first) else first
            for rows in order.split(32):
                value = loss(rows)
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                watch.step(value)
            model.eval()
            with torch.no_grad():
                score = {"loss": float(loss(slice(border, None)))}
            model.train()
            watch.epoch(validation=score if told else None)
    return watch.run, watch.diagnose(show=False), first


@pytest.mark.parametrize("told", [True, False], ids=["validated", "not validated"])
def test_wrong_labels_are_named_and_listed(told: bool) -> None:
    x, y = digits()
    labels, wrong = flipped(y, 10)
    _, found, order = watched(x, labels, told=told)
    [noise] = [f for f in found.findings if f.name == "label_noise"]
    assert 0.5 * WRONG < noise.evidence["share"] < 1.5 * WRONG
    places = [tuple(map(int, re.findall(r"\d+", key))) for key in noise.evidence["keys"]]
    doubted = [int(order.split(32)[batch - 1][row]) for batch, row in places]
    assert np.mean([bool(wrong[row]) for row in doubted]) >= 0.8
    assert "batches of the first epoch" in noise.sentence


def test_right_labels_are_not_doubted() -> None:
    x, y = digits()
    for told in (True, False):
        _, found, _ = watched(x, y, told=told)
        assert "label_noise" not in {f.name for f in found.findings}
        assert "label_noise" not in {n.name for n in found.not_assessed}


def test_wrong_labels_of_two_classes() -> None:
    cancer: Any = load_breast_cancer()
    order = torch.randperm(len(cancer.data), generator=torch.Generator().manual_seed(0))
    x, y = torch.tensor(cancer.data).float()[order], torch.tensor(cancer.target)[order]
    x = (x - x.mean(0)) / x.std(0)
    for labels, expected in ((flipped(y, 2)[0], True), (y, False)):
        _, found, _ = watched(x, labels, binary=True)
        assert ("label_noise" in {f.name for f in found.findings}) == expected


def test_a_rare_class_that_is_overlooked() -> None:
    """Few of the twos are left, and none of those is found; after more training, and with all, they are."""
    x, y = digits()
    rare = torch.cat([torch.where(y != 2)[0], torch.where(y == 2)[0][:25]])
    rare = rare[torch.randperm(len(rare), generator=torch.Generator().manual_seed(0))]
    _, found, _ = watched(x[rare], y[rare], epochs=4)
    [overlooked] = [f for f in found.findings if f.name == "class_imbalance"]
    assert overlooked.evidence["worst_class"] == "2"
    assert overlooked.evidence["worst_class_examples"] >= 3
    assert "training examples of 2" in overlooked.sentence
    for rows in (rare, torch.arange(len(x))):
        _, found, _ = watched(x[rows], y[rows], epochs=25, lr=3e-3)
        assert "class_imbalance" not in {f.name for f in found.findings}


def test_the_record_of_a_loop_is_diagnosed_alike(tmp_path: Path) -> None:
    x, y = digits()
    run, found, _ = watched(x, flipped(y, 10)[0], out=tmp_path / "loop")
    again = diagnose(store.open_run(tmp_path / "loop"))
    assert {"train", "learning"} <= set(run.predictions)
    named = {f.name: f.evidence for f in again.findings}
    assert named["label_noise"] == {f.name: f.evidence for f in found.findings}["label_noise"]


def test_a_training_that_ends_worse_than_its_average_doubts_nothing() -> None:
    x, y = digits()
    run, found, _ = watched(x, flipped(y, 10)[0], told=False, epochs=10)
    assert "label_noise" in {f.name for f in found.findings}
    last = run.predictions["train"]
    worse = replace(last, prediction=np.where(last.index % 3, last.prediction, 0))
    run.predictions["train"] = worse
    assert "label_noise" not in {f.name for f in diagnose(run).findings}


def run_of(part: str, *wrong: float) -> Run:
    """Quarters of 400 examples of ten classes, the surest first, and which share of each is wrong."""
    target = np.tile(np.arange(10), 40)
    sure = np.repeat([0.9, 0.8, 0.7, 0.6], 100)
    bad = np.concatenate([np.arange(100) < 100 * share for share in wrong])
    said = np.where(bad, (target + 1) % 10, target)
    chances = np.full((400, 10), 0.0) + ((1 - sure) / 9)[:, None]
    chances[np.arange(400), said] = sure
    keys = np.arange(400).astype(str)
    losses = -np.log(chances[np.arange(400), target])
    predictions = Predictions(keys, np.arange(400), target, said, chances, losses)
    return Run(status="done", predictions={part: predictions})


@pytest.mark.parametrize(
    ("part", "wrong", "told"),
    [
        ("held_out", (0.1, 0.1, 0.1, 0.1), True),
        ("held_out", (0.3, 0.05, 0.05, 0.05), False),  # who errs where it is surest errs by itself
        ("held_out", (0.1, 0.1, 0.7, 0.7), True),
        ("learning", (0.1, 0.1, 0.7, 0.7), False),  # too little of what it is trained on
        ("learning", (0.1, 0.1, 0.3, 0.3), True),
        ("held_out", (0.45, 0.45, 0.45, 0.45), False),
    ],
)
def test_where_doubts_mean_something(part: str, wrong: tuple[float, ...], told: bool) -> None:
    found = diagnose(run_of(part, *wrong))
    assert ("label_noise" in {f.name for f in found}) == told


def test_a_network_of_places_has_no_examples_to_doubt() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(20, 16), nn.Linear(16, 20))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    words = torch.randint(0, 20, (64, 12))
    with fw.watch(model, optimizer) as watch:
        for _ in range(3):
            value = F.cross_entropy(model(words[:, :-1]).transpose(1, 2), words[:, 1:])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            watch.step(value)
            watch.epoch()
    assert watch.run.predictions == {}


def test_the_mean_ends_at_the_lowest_validation_loss() -> None:
    learning = Learning()
    for epoch, loss in enumerate((3.0, 2.0, 2.5, 2.6)):
        learning.add(np.full((2 + epoch, 2), float(epoch)), loss)  # the sample may still grow
    assert learning.epochs == 2
    assert learning.mean is not None
    assert learning.mean.tolist() == [[0.5, 0.5]] * 2


@pytest.mark.parametrize(
    ("epochs", "over"), [(1, 1), (2, 1), (3, 1), (4, 2), (7, 2), (8, 4), (63, 16)]
)
def test_without_validation_the_mean_is_over_early_epochs(epochs: int, over: int) -> None:
    learning = Learning()
    for _ in range(epochs):
        learning.add(np.ones((2, 2)), None)
    assert learning.epochs == over
    assert Learning().mean is None


def test_what_is_evaluated_may_look_like_nothing_that_was_trained_on() -> None:
    """Passes of other shapes, types and sizes are no reason to end somebody's loop."""
    x, y = digits(320)
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with fw.watch(model, optimizer) as watch:
        for rows in torch.arange(320).split(64):
            watch.step(one_step(model, optimizer, x[rows], y[rows]))
        with torch.no_grad():
            model(x[0])
            model(x[:2])
            model(x.view(5, 64, 64))
            model(x.to_sparse())
            model(torch.full_like(x, float("nan")))
        watch.epoch()
    [loop] = [row for row in watch.run.evidence if row["experiment"] == "loop"]
    assert loop["scale_evaluated"] is None
