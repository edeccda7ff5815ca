"""What recurrent networks keep of the steps long ago: measured, found, and what is tried about it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from findings_rows import a_run, folds, reference, with_norms
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import fitwell as fw
from fitwell.findings import RULES
from fitwell.models import build
from fitwell.probes import in_any_order, reader_of, through_time
from fitwell.record import Finding, NotAssessed, Row, Run
from fitwell.remedies import remedies_for
from fitwell.report.evidence import PICTURES
from fitwell.resolve import complete
from fitwell.spec import Spec
from fitwell.train.through_time import _last_asked

SERIES = Spec("series", "classification", (1, 20), ("no", "yes"), num_examples=200)
LANGUAGE = Spec("text", "language", (20,), vocabulary=9)


def made(name: str, spec: Spec = SERIES, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    return build(name, spec, {"width": 8, **settings})


def elman(back: float, *, batch_first: bool = True) -> nn.RNN:
    """One unit, h_t = relu(x_t + back * h_{t-1})."""
    layer = nn.RNN(1, 1, nonlinearity="relu", bias=False, batch_first=batch_first)
    with torch.no_grad():
        layer.get_parameter("weight_ih_l0").fill_(1.0)
        layer.get_parameter("weight_hh_l0").fill_(back)
    return layer


class LastOf(nn.Module):
    """What an RNN ends with, of [batch, step]."""

    def __init__(self, layer: nn.RNN) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps = x[:, :, None] if self.layer.batch_first else x.T[:, :, None]
        return self.layer(steps)[1][0, :, 0]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("back", [0.5, 1.0, 1.2])
def test_the_gradient_of_one_unit_is_a_power_of_its_weight(back: float, batch_first: bool) -> None:
    model = LastOf(elman(back, batch_first=batch_first)).train()
    row = through_time(model, torch.sum, torch.rand(4, 12) + 0.1)
    assert row is not None and row["lag"] == list(range(12))
    assert row["gradient"] == pytest.approx([back**lag for lag in range(12)])
    assert model.training and all(p.grad is None for p in model.parameters())


def test_the_gradient_is_that_of_the_inputs_each_from_its_own_end() -> None:
    model = made("lstm", depth=2).eval()
    x = torch.randn(3, 1, 20)
    for example, length in enumerate((20, 18, 15)):
        x[example, :, length:] = 0
    leaf = x.clone().requires_grad_()
    model(leaf)[:, 0].sum().backward()
    assert leaf.grad is not None
    own = [leaf.grad[i, 0, :n].flip(0) for i, n in enumerate((20, 18, 15))]
    row = through_time(model, lambda said: said[:, 0].sum(), x)
    assert row is not None and row["lag"][-1] == 17  # as far as half of them go
    for lag, size in zip(row["lag"], row["gradient"], strict=True):
        squares = torch.stack([g[lag] ** 2 for g in own if len(g) > lag])
        assert size == pytest.approx(float(squares.mean().sqrt()), rel=1e-4)


class Packed(nn.Module):
    """A network of somebody else: series of one channel that end at their first 0, packed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.GRU(1, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lengths = (x[:, 0] != 0).sum(1)
        packed = pack_padded_sequence(x.mT, lengths, batch_first=True, enforce_sorted=False)
        return self.head(self.layer(packed)[1][0])


def test_packed_sequences_end_where_they_end() -> None:
    torch.manual_seed(0)
    model, x = Packed().eval(), torch.rand(4, 1, 12) + 0.1
    x[1:, :, 9:] = 0
    leaf = x.clone().requires_grad_()
    model(leaf).sum().backward()
    row = through_time(model, torch.sum, x)
    assert leaf.grad is not None and row is not None and row["lag"] == list(range(9))
    own = torch.stack([leaf.grad[0, 0, 11], *leaf.grad[1:, 0, 8]])
    assert row["gradient"][0] == pytest.approx(float(own.square().mean().sqrt()), rel=1e-4)
    before = model(x)
    with in_any_order(model, kept=8):  # of the shorter ones all but one
        assert torch.allclose(model(x)[1:], before[1:])
    with in_any_order(model):
        assert not torch.isclose(model(x), before, rtol=1e-3).all(1).any()


def test_what_has_no_first_step_has_no_lag() -> None:
    x = torch.randn(4, 1, 20)
    for model in (made("lstm", bidirectional=True), made("fcn"), made("mlp"), made("transformer")):
        assert through_time(model, torch.sum, x) is None
    assert reader_of(made("tcn")) is None and reader_of(made("gru", bidirectional=True))
    assert through_time(made("rnn"), torch.sum, torch.full_like(x, torch.nan)) is None


def test_any_order_deals_the_steps_before_the_end_out_and_leaves_the_rest() -> None:
    read: list[torch.Tensor] = []
    model = made("gru")
    x = torch.arange(1.0, 21).expand(6, 1, 20).clone()
    x[0, :, 15:] = 0
    layers = reader_of(model)
    assert layers is not None
    with in_any_order(model, kept=2):
        handle = layers.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
        model(x)
    handle.remove()
    dealt, true = read[0][:, :, 0], x[:, 0]
    assert torch.equal(dealt.sort(1).values, true.sort(1).values)
    assert torch.equal(dealt[0, 13:], true[0, 13:]) and torch.equal(dealt[1:, 18:], true[1:, 18:])
    assert not torch.equal(dealt[0, :13], true[0, :13]) and not torch.equal(dealt[1], dealt[2])
    before = model(x)
    with in_any_order(model):
        assert not torch.allclose(model(x), before)
    assert torch.equal(model(x), before)  # nothing is left of it
    no_reader = made("fcn")
    with in_any_order(no_reader):
        assert torch.equal(no_reader(x), no_reader(x))


def test_a_state_without_weights_carries_nothing_of_a_language() -> None:
    model = made("rnn", LANGUAGE).eval()
    ids = torch.randint(1, 9, (5, 20))
    with in_any_order(model, kept=1):
        assert not torch.allclose(model(ids)[:, -1], model(ids)[:, -1])
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "weight_hh" in name:
                    weight.zero_()
        assert torch.equal(model(ids)[:, -1], model(ids)[:, -1])
    assert _last_asked(torch.tensor([[0, 3, 4, 0], [5, 0, 0, 0]])).tolist() == [
        [0, 0, 4, 0],
        [5, 0, 0, 0],
    ]


def fading(
    run: Run, *, back: float = 0.5, steps: int = 20, rise: float = 0.01, loss: float = 2.0
) -> Run:
    """The run as of a recurrent network whose gradient is `back` of what it was a step later."""
    curve = [back**lag for lag in range(steps)]
    order = {"loss": loss, "loss_shuffled": loss + rise, "rise": rise, "error": 0.01}
    run.evidence = [
        *[row for row in run.evidence if row["experiment"] == "reference"],
        {"experiment": "through_time", "lag": list(range(steps)), "gradient": curve},
        {"experiment": "shuffled_order", "part": "held_out", **order, "examples": 100},
    ]
    return run


def told(runs: list[Run]) -> Finding | NotAssessed | None:
    return RULES["vanishing_gradient"](runs)


def still(count: int = 3, **settings: Any) -> list[Run]:
    """Folds of a network that stays where it began."""
    return [a_run(seed, end=2.2, train=0.1, validation=0.1, **settings) for seed in range(count)]


def test_where_the_gradient_fades_and_order_does_not_matter_it_vanishes_through_time() -> None:
    found = told([fading(run) for run in still()])
    assert isinstance(found, Finding) and found.confidence == "high"
    assert found.evidence["steps_back"] == 19 and found.evidence["a_hundredth_within"] == 7
    assert found.evidence["gradient_far_over_near"] == pytest.approx(0.5**17, rel=1e-3)
    assert "2.01 with their steps in any order, 2 in the true one" in found.sentence
    alone = told([fading(run) for run in still(1)])
    assert isinstance(alone, Finding) and alone.confidence == "medium"


@pytest.mark.parametrize(
    "healthy",
    [
        {"back": 0.9},  # a tenth is left
        {"back": 1.1},
        {"rise": 0.5},  # of a first loss of 2.3: the order brings something
        {"loss": 0.9},  # it was learned
    ],
)
def test_what_reads_its_steps_is_left_alone(healthy: dict[str, float]) -> None:
    assert told([fading(run, **healthy) for run in still()]) is None  # type: ignore[arg-type]
    mixed = [fading(run, **(healthy if i else {})) for i, run in enumerate(still())]  # type: ignore[arg-type]
    assert told(mixed) is None
    assert told([fading(run, back=0.1, steps=7) for run in still()]) is None


def test_what_is_still_learned_may_come_to_use_the_order() -> None:
    runs = [fading(a_run(seed, end=1.0, tau=2.0), loss=2.0) for seed in range(3)]
    assert isinstance(RULES["stopped_too_early"](runs), Finding) and told(runs) is None


def test_a_fit_that_is_short_of_simple_models_is_told_by_the_gradient() -> None:
    runs = [fading(run, rise=1.0) for run in still()]
    assert told(runs) is None
    runs[0].evidence += reference(0.9)
    found = told(runs)
    assert isinstance(found, Finding) and "nearest neighbour reaches 0.9" in found.sentence


def test_where_simple_models_learn_nothing_either_it_is_a_remark() -> None:
    runs = [fading(run) for run in still()]
    runs[0].evidence += reference(0.105)
    found = told(runs)
    assert isinstance(found, Finding) and found.confidence == "low"


def test_of_a_language_the_state_must_carry_nothing_at_all() -> None:
    for rise, back, expected in ((0.0, 0.5, True), (0.05, 0.5, False), (0.0, 0.7, False)):
        runs = [fading(run, rise=rise, back=back, steps=60) for run in still()]
        for run in runs:
            run.spec = LANGUAGE
        assert isinstance(told(runs), Finding) == expected
        runs[0].evidence += reference(0.9)
        assert isinstance(told(runs), Finding) == expected


def test_a_state_that_carries_nothing_is_told_by_the_order_alone() -> None:
    rule = RULES["idle_state"]
    runs = [fading(run, back=0.9) for run in still()]
    found = rule(runs)
    assert isinstance(found, Finding) and found.confidence == "low"  # is there anything to carry?
    assert "2.01 with their steps in any order, 2 in the true one" in found.sentence
    runs[0].evidence += reference(0.9)  # simple models show that there is something to learn
    known = rule(runs)
    assert isinstance(known, Finding) and known.confidence == "high"
    alike = [fading(run, back=0.9) for run in still()]
    alike[0].evidence += reference(0.105)
    remark = rule(alike)
    assert isinstance(remark, Finding) and remark.confidence == "low"
    for healthy in ({"rise": 0.5}, {"loss": 0.9}):  # the order brings something; it was learned
        runs = [fading(run, back=0.9, **healthy) for run in still()]  # type: ignore[arg-type]
        assert rule(runs) is None
    assert rule([fading(run) for run in still()]) is None  # which is `vanishing_gradient`
    assert rule(folds(3)) is None
    learning = [fading(a_run(seed, end=1.0, tau=2.0), back=0.9, loss=2.0) for seed in range(3)]
    assert rule(learning) is None


def test_other_networks_are_judged_by_depth_alone() -> None:
    assert told(folds(3)) is None
    assert isinstance(told([Run()]), NotAssessed)
    assert told([fading(Run(), back=0.9)]) is None  # measured, and well


def test_what_is_tried_where_it_fades_with_the_steps() -> None:
    found = told([fading(run) for run in still()])
    assert isinstance(found, Finding)
    recipe = complete({"model.name": "rnn", "model.recurrent_init": "default"}, SERIES)
    edits = [dict(remedy.settings) for remedy in remedies_for(found, recipe, SERIES)]
    assert edits[:3] == [
        {"model.name": "lstm"},
        {"model.pooling": "mean"},
        {"model.recurrent_init": "orthogonal"},
    ]
    gated = complete({"model.name": "lstm"}, SERIES)
    edits = [dict(remedy.settings) for remedy in remedies_for(found, gated, SERIES)]
    assert edits[:2] == [{"model.pooling": "mean"}, {"model.forget_bias": 3.0}]  # log 20
    remembering = complete({"model.name": "lstm", "model.forget_bias": 5.0}, SERIES)
    edits = [dict(remedy.settings) for remedy in remedies_for(found, remembering, SERIES)]
    assert not any("model.forget_bias" in edit for edit in edits)
    deep = Finding("vanishing_gradient", "high", {}, "")  # of layers
    edits = [dict(remedy.settings) for remedy in remedies_for(deep, recipe, SERIES)]
    assert not any({"model.pooling", "model.recurrent_init"} & edit.keys() for edit in edits)


@pytest.mark.parametrize(("back", "grown"), [(1.5, True), (0.5, False)])
def test_a_gradient_that_explodes_says_whether_it_grows_with_the_steps(
    back: float, grown: bool
) -> None:
    runs = [with_norms(run, spikes=(9, 20, 31, 40, 47, 55)) for run in folds(3)]
    found = RULES["exploding_gradient"]([fading(run, back=back) for run in runs])
    assert isinstance(found, Finding)
    assert ("grows to" in found.sentence) == grown == ("gradient_far_over_near" in found.evidence)


def test_its_picture_is_of_the_steps() -> None:
    runs = [fading(run) for run in still()]
    found = told(runs)
    assert isinstance(found, Finding)
    drawn = PICTURES["vanishing_gradient"](found, runs, "accuracy")
    other = Finding("vanishing_gradient", "high", {}, "")
    assert drawn and drawn != PICTURES["vanishing_gradient"](other, runs, "accuracy")
    assert PICTURES["vanishing_gradient"](found, [Run()], "accuracy") is None


def signs(count: int = 200) -> tuple[list[np.ndarray], np.ndarray]:
    """Series whose class is the sign of their first value, 15 to 25 steps of noise before the end."""
    random = np.random.default_rng(0)
    sign = np.arange(count) % 2
    noise = [0.3 * random.normal(size=steps) for steps in random.integers(15, 25, count)]
    return [np.concatenate([[2.0 * s - 1], n]) for s, n in zip(sign, noise, strict=True)], sign


def means(count: int = 200) -> tuple[list[np.ndarray], np.ndarray]:
    """Series whose class is in their mean, whatever the order."""
    random = np.random.default_rng(0)
    sign = np.arange(count) % 2
    return [s - 0.5 + random.normal(size=20) for s in sign], sign


def trained(data: Any, model: str, folder: Path, **settings: Any) -> Run:
    named = {f"model.{key}": value for key, value in settings.items()}
    chosen = {"model.width": 16, "train.epochs": 15, "data.kind": "series", "train.threads": 1}
    return fw.fit(data, model=model, settings={**chosen, **named}, out=folder)


def rows_of(run: Run, experiment: str) -> list[Row]:
    return [row for row in run.evidence if row["experiment"] == experiment]


@pytest.mark.parametrize(
    ("data", "model", "settings", "named"),
    [
        (signs, "rnn", {"recurrent_init": "default"}, True),
        (signs, "lstm", {}, False),
        (means, "rnn", {"recurrent_init": "default"}, False),
        (means, "lstm", {}, False),
    ],
    ids=["rnn", "lstm", "means rnn", "means lstm"],
)
def test_planted(
    data: Any, model: str, settings: dict[str, Any], named: bool, tmp_path: Path
) -> None:
    run = trained(data(), model, tmp_path / "run", **settings)
    [order], [curve] = rows_of(run, "shuffled_order"), rows_of(run, "through_time")
    assert order["part"] == "validation" and order["metric"] == "accuracy"  # no look at a test part
    assert order["score"] == run.scores["validation"]["accuracy"]
    assert order["rise"] == pytest.approx(order["loss_shuffled"] - order["loss"])
    assert curve["gradient"][0] > 0
    found = {finding.name: finding for finding in fw.diagnose(tmp_path / "run")}
    assert ("vanishing_gradient" in found) == named
    if named:
        assert dict(found["vanishing_gradient"].remedies[0].settings) == {"model.name": "lstm"}


def test_a_language_is_asked_for_its_last_tokens(tmp_path: Path) -> None:
    """What follows `a` is known by what stands before it."""
    (tmp_path / "book.txt").write_text("aabb" * 500)
    chosen = {"model.width": 12, "data.context": 15, "train.epochs": 10, "train.batch_size": 8}
    run = fw.fit(tmp_path / "book.txt", model="gru", settings=chosen, out=tmp_path / "run")
    [order] = rows_of(run, "shuffled_order")
    assert order["metric"] == "nats of the last token" and order["score"] == order["loss"]
    assert order["rise"] > 2 * order["error"]
    assert len(rows_of(run, "through_time")[0]["lag"]) == 15


def test_networks_without_a_state_are_not_asked(tmp_path: Path) -> None:
    run = fw.fit(
        means(60),
        model="fcn",
        settings={"train.epochs": 1, "data.kind": "series"},
        out=tmp_path / "r",
    )
    assert not rows_of(run, "through_time") and not rows_of(run, "shuffled_order")
