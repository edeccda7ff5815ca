"""Models of sequences: their cells step by step, ends, causality, state that is carried, tied weights."""

import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fitwell as fw
from fitwell.errors import SettingError
from fitwell.models import build
from fitwell.models.transformer import sinusoids
from fitwell.nn.attention import SelfAttention
from fitwell.nn.convolutions import ConvBlock, Residual, StepNorm
from fitwell.nn.recurrent import Recurrent, last_state
from fitwell.nn.steps import SeriesSteps, WordSteps
from fitwell.nn.tying import state_of
from fitwell.nn.types import NormName
from fitwell.resolve import complete
from fitwell.show import layer_table, parameter_table
from fitwell.spec import Column, Spec

RECURRENT = ("rnn", "lstm", "gru")
ALL = (*RECURRENT, "fcn", "resnet1d", "tcn", "transformer")
CAUSAL = (*RECURRENT, "tcn", "transformer")
SERIES = Spec("series", "classification", (2, 20), ("no", "yes"))
LANGUAGE = Spec("text", "language", (24,), vocabulary=30)


def made(name: str, spec: Spec, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    return build(name, spec, {"width": 16, **settings}).eval()


# Cells.


def by_hand(cell: str, layer: nn.Module, x: Tensor) -> Tensor:
    """[step, unit] of one sequence, from the formulas of the catalogue."""
    w, u = (layer.get_parameter(f"weight_{kind}_l0") for kind in ("ih", "hh"))
    b, c = (layer.get_parameter(f"bias_{kind}_l0") for kind in ("ih", "hh"))
    h = torch.zeros(u.shape[1], dtype=x.dtype)
    memory = torch.zeros_like(h)
    out = []
    for step in x:
        if cell == "rnn":
            h = torch.tanh(w @ step + b + u @ h + c)
        elif cell == "lstm":
            i, f, g, o = (w @ step + b + u @ h + c).chunk(4)
            memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
            h = o.sigmoid() * memory.tanh()
        else:
            (r, z, n), (hr, hz, hn) = (w @ step + b).chunk(3), (u @ h + c).chunk(3)
            r, z = (r + hr).sigmoid(), (z + hz).sigmoid()
            h = z * h + (1 - z) * (n + r * hn).tanh()
        out.append(h)
    return torch.stack(out)


@pytest.mark.parametrize("cell", RECURRENT)
def test_a_cell_is_its_formula(cell: Any) -> None:
    torch.manual_seed(0)
    layers = Recurrent(cell, 3, 5, rates=[0.0, 0.0]).double()
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    out, state = layers(x, torch.tensor([7, 7]))
    for row, given in zip(out, x, strict=True):
        expected = by_hand(cell, layers.layers[1], by_hand(cell, layers.layers[0], given))
        torch.testing.assert_close(row, expected)
    assert state is not None
    torch.testing.assert_close(state[0][1], out[:, -1])


@pytest.mark.parametrize("cell", RECURRENT)
def test_both_ways_is_a_second_cell_from_the_end(cell: Any) -> None:
    torch.manual_seed(0)
    layers = Recurrent(cell, 3, 5, rates=[0.0], both=True).double()
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    out, _ = layers(x, torch.tensor([7, 4]))
    back = Recurrent(cell, 3, 5, rates=[0.0]).double()
    given = layers.layers[0].state_dict()
    back.layers[0].load_state_dict(
        {n.removesuffix("_reverse"): p for n, p in given.items() if n.endswith("_reverse")}
    )
    for row, end in ((0, 7), (1, 4)):
        alone = x[row : row + 1, :end].flip(1)
        expected = back(alone, torch.tensor([end]))[0].flip(1)[0]
        torch.testing.assert_close(out[row, :end, 5:], expected)


def test_first_weights_of_the_state() -> None:
    model = made("lstm", SERIES, forget_bias=2.0)
    layer = model.get_submodule("recurrent.layers.0")
    biases = layer.get_parameter("bias_ih_l0") + layer.get_parameter("bias_hh_l0")
    assert biases.chunk(4)[1].tolist() == [2.0] * 16
    assert 0 < biases.chunk(4)[0].abs().max() < 1  # the others stay as they are drawn
    for gate in layer.get_parameter("weight_hh_l0").split(16):
        torch.testing.assert_close(gate @ gate.T, torch.eye(16), atol=1e-5, rtol=0)
    own = made("gru", SERIES, recurrent_init="identity", bidirectional=True)
    for name, weight in own.named_parameters():
        if "weight_hh" in name:
            assert torch.equal(weight, torch.eye(16).repeat(3, 1))
    assert made("lstm", SERIES, init="he").get_parameter("recurrent.layers.0.bias_ih_l0").any()


# Ends.


def cases(name: str) -> list[dict[str, Any]]:
    if name in RECURRENT:
        ways = [{"pooling": how} for how in ("last", "mean", "max")]
        return [
            {**way, "bidirectional": both, "depth": 2} for way in ways for both in (True, False)
        ]
    if name == "transformer":
        return [{"pooling": "max"}, {"positions": "learned"}]
    # A sigmoid of 0 is not 0, so what lies behind an end has to be cut off again.
    return [{"norm": norm, "activation": "sigmoid"} for norm in get_args(NormName)]


@pytest.mark.parametrize(("name", "chosen"), [(n, c) for n in ALL for c in cases(n)])
def test_what_stands_behind_the_end_changes_nothing(name: str, chosen: dict[str, Any]) -> None:
    torch.manual_seed(1)
    model = made(name, SERIES, **chosen)
    x = torch.randn(4, 2, 20)
    x[1, :, 12:] = 0
    x[3, :, 1:] = 0
    together = model(x)
    for row, end in ((1, 12), (3, 1)):
        torch.testing.assert_close(model(x[row : row + 1, :, :end]), together[row : row + 1])
    words = made(name, Spec("text", "regression", (20,), vocabulary=30), **chosen)
    ids = torch.randint(1, 30, (2, 20))
    ids[1, 9:] = 0
    torch.testing.assert_close(words(ids)[1:], words(ids[1:, :9]))


@pytest.mark.parametrize("name", ["batch", "layer", "group"])
def test_statistics_are_of_the_steps_before_the_ends(name: str) -> None:
    norm = StepNorm(name, 16)
    x, there = torch.randn(3, 16, 9), torch.ones(3, 9, dtype=torch.bool)
    torch.testing.assert_close(norm(x, there), norm(x, None))
    there[1, 4:] = False
    out = norm(x, there)
    changed = x.clone()
    changed[1, :, 4:] = 1e3
    assert torch.equal(norm(changed, there), out)
    assert not out[1, :, 4:].any()
    if name == "batch":
        seen = out.transpose(1, 2)[there]
        torch.testing.assert_close(seen.mean(0), torch.zeros(16), atol=1e-5, rtol=0)


def test_attention_sees_only_what_is_there_however_it_is_computed() -> None:
    torch.manual_seed(0)
    for causal in (False, True):
        short = SelfAttention(8, 2, causal=causal).double()
        x = torch.randn(2, 150, 8, dtype=torch.float64)  # so many by the fused kernel
        there = torch.ones(2, 150, dtype=torch.bool)
        there[0, 90:] = False
        long = short(x, there)
        torch.testing.assert_close(long[:1, :90], short(x[:1, :90], there[:1, :90]))
        torch.testing.assert_close(long[:1, :90], short(x[:1, :90]))
        naive = []
        for t in range(90):
            seen = x[:1, : t + 1] if causal else x[:1, :90]
            naive.append(short(seen)[:, min(t, seen.shape[1] - 1)])
        torch.testing.assert_close(long[:1, :90], torch.stack(naive, 1))


def test_sinusoids_are_the_papers() -> None:
    table = sinusoids(12, 10)
    for t, i in ((0, 0), (3, 1), (11, 4)):
        angle = t / 10_000 ** (2 * i / 10)
        assert table[t, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
        assert table[t, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


# Language.


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("tied", [False, True])
def test_no_output_sees_what_comes_next(name: str, tied: bool) -> None:
    model = made(name, LANGUAGE, tied=tied, depth=2)
    ids = torch.randint(1, 30, (2, 24))
    before = model(ids)
    assert before.shape == (2, 24, 30)
    for place in (1, 13, 23):
        changed = ids.clone()
        changed[:, place] = 1 + changed[:, place] % 29
        after = model(changed)
        torch.testing.assert_close(after[:, :place], before[:, :place])
        assert not torch.allclose(after[:, place], before[:, place])
    shorter = model(ids[:, :9])  # as while a text is generated
    torch.testing.assert_close(shorter, before[:, :9])


@pytest.mark.parametrize("name", RECURRENT)
def test_a_carried_state_goes_on_where_the_chunk_before_ended(name: str) -> None:
    model: Any = made(name, LANGUAGE, depth=2, norm="layer")
    ids = torch.randint(1, 30, (3, 24))
    whole = model(ids)
    assert model.state is None
    model.carry(True)
    parts = [model(ids[:, :10]), model(ids[:, 10:])]
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    state = model.state or ()
    assert len(state) == (2 if name == "lstm" else 1)
    assert all(part.shape == (2, 3, 16) and not part.requires_grad for part in state)
    torch.testing.assert_close(model(ids[:2]), whole[:2])  # of another size: begun anew
    model.reset_state()
    torch.testing.assert_close(model(ids), whole)
    model.carry(False)
    torch.testing.assert_close(model(ids), whole)


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("embedding", [0, 5])
def test_tied_weights_are_one(name: str, embedding: int) -> None:
    loose, tied = (made(name, LANGUAGE, tied=t, embedding=embedding) for t in (False, True))
    counts = [sum(row["count"] for row in parameter_table(m)) for m in (loose, tied)]
    # A second table of outputs less, and where vectors are shorter the way down to them more.
    assert counts[0] - counts[1] == 30 * 16 - (16 + 1) * embedding
    table = tied.get_parameter("inputs.embedding.weight")
    assert tied.get_parameter("head.symbols.weight") is table
    assert "head.symbols.weight" not in state_of(tied)
    tied(torch.randint(1, 30, (2, 24))).sum().backward()
    assert table.grad is not None and table.grad.any()


@pytest.mark.parametrize(
    ("name", "spec", "settings", "setting"),
    [
        ("lstm", LANGUAGE, {"bidirectional": True}, "model.bidirectional"),
        ("lstm", LANGUAGE, {"pooling": "mean"}, "model.pooling"),
        ("transformer", LANGUAGE, {"pooling": "max"}, "model.pooling"),
        ("fcn", LANGUAGE, {}, "model.name"),
        ("gru", SERIES, {"tied": True}, "model.tied"),
        ("tcn", SERIES, {"embedding": 4}, "model.embedding"),
        ("transformer", SERIES, {"heads": 3}, "model.heads"),
        ("rnn", SERIES, {"depth": 2, "dropout": [0.1]}, "model.dropout"),
    ],
)
def test_what_does_not_suit_is_refused(
    name: str, spec: Spec, settings: dict[str, Any], setting: str
) -> None:
    with pytest.raises(SettingError) as caught:
        made(name, spec, **settings)
    assert caught.value.setting == setting


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            Spec("images", "classification", (3, 64, 64), ("a", "b")),
            "images of 3x64x64. Set.*convnet",
        ),
        (
            Spec("table", "regression", (3,), columns=(Column("a"),) * 3),
            "rows of 3 columns. Set model.name=mlp",
        ),
    ],
)
def test_what_is_no_sequence_is_called_by_its_name(spec: Spec, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        made("lstm", spec)


# By recipe.


def test_recurrent_networks_are_clipped_by_default() -> None:
    recipe = complete({"model": "lstm"}, SERIES)
    assert recipe["train.clip_norm"] == 1.0 and recipe["optim.name"] == "adamw"
    assert complete({"model": "fcn"}, SERIES)["train.clip_norm"] == 0
    own = complete({"model": "gru", "train.normalise_gradient": True}, SERIES)
    assert own["train.clip_norm"] == 0  # which would have no meaning beside it
    words = complete({"model": "lstm"}, Spec("text", "regression", (20,), vocabulary=30))
    assert words["train.clip_norm"] == 1.0
    ahead = Spec("series", "forecasting", (2, 30), targets=("a", "b"), horizon=3, num_examples=500)
    for name in ("rnn", "lstm", "gru"):
        assert complete({"model": name}, ahead)["train.clip_norm"] == 1.0
    assert complete({"model": "dlinear"}, ahead)["train.clip_norm"] == 0


@pytest.mark.parametrize("name", ["lstm", "fcn"])
def test_series_of_several_lengths_are_learnt_from_end_to_end(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = [
        np.sin(np.arange(n) / (2 + 3 * t) + rng.uniform()) + 0.1 * rng.normal(size=n)
        for t, n in zip(y, rng.integers(12, 30, 60), strict=True)
    ]
    settings = {"model.width": 16, "train.epochs": 15, "data.kind": "series"}
    run = fw.fit((x, y), model=name, settings=settings, out=tmp_path / "run")
    assert run.scores["train"]["accuracy"] > 0.9
    said = fw.predict(tmp_path / "run", [each[:10] for each in x[:4]])
    assert len(said) == 4


@pytest.mark.parametrize(("name", "gates"), [("rnn", 1), ("lstm", 4), ("gru", 3)])
def test_the_work_of_a_cell_is_counted(name: str, gates: int) -> None:
    model = made(name, SERIES)
    [row] = [r for r in layer_table(model, SERIES) if r["name"] == "recurrent.layers.0"]
    assert row["multiply_adds"] == 20 * gates * 16 * (2 + 16)  # each step, of input and state


# One by one.


def test_the_way_back_ends_at_the_first_step() -> None:
    x = torch.arange(24.0).view(2, 3, 4)
    read = last_state(x, torch.tensor([3, 2]), True)
    assert read.tolist() == [[8, 9, 2, 3], [16, 17, 14, 15]]
    assert last_state(x, torch.tensor([3, 2]), False)[:, 2:].tolist() == [[10, 11], [18, 19]]


def test_each_layer_has_a_norm_of_its_own() -> None:
    layers = Recurrent("gru", 3, 5, rates=[0.0, 0.0], norm=True)
    assert layers.norms is not None
    nn.init.constant_(layers.norms[1].bias, 7.0)  # type: ignore[arg-type]
    out, _ = layers(torch.randn(2, 4, 3), torch.tensor([4, 4]))
    torch.testing.assert_close(out.mean(2), torch.full((2, 4), 7.0))


def test_a_step_is_there_where_any_channel_is() -> None:
    _, lengths = SeriesSteps()(torch.tensor([[[1.0, 0, 2, 0, 0], [0, 3, 0, 4, 0]]]))
    assert lengths.tolist() == [4]


def test_shared_vectors_are_multiplied_by_the_root_of_their_width() -> None:
    words = WordSteps(9, 16, shared=True)
    x, _ = words(torch.tensor([[5, 8]]))
    torch.testing.assert_close(x[0], 4 * words.embedding.weight[[5, 8]])


@pytest.mark.parametrize("channels", [3, 8])
def test_what_a_block_need_not_change_goes_past_it(channels: int) -> None:
    block = ConvBlock(channels, 8, 5, activation=None, norm="layer", rate=0.0)
    both = Residual([block], channels, 8, activation="relu", norm="layer")
    x = torch.randn(2, channels, 30)
    past = x if both.shortcut is None else both.shortcut(x, None)
    assert (both.shortcut is None) == (channels == 8)
    torch.testing.assert_close(both(x, None), (block(x, None) + past).relu())


def test_a_convolution_drops_whole_channels_and_has_a_bias_where_it_matters() -> None:
    block = ConvBlock(2, 40, 3, activation=None, norm="layer", rate=0.5)
    gone = block(torch.randn(1, 2, 30), None)[0] == 0
    assert (gone.all(1) == gone.any(1)).all() and 0 < gone.all(1).sum() < 40
    assert block.conv.bias is not None
    assert ConvBlock(2, 4, 3, activation=None, norm="batch", rate=0.0).conv.bias is None


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_a_transformer_knows_where_a_step_stands(positions: str) -> None:
    model: Any = made("transformer", SERIES, positions=positions, dropout=[0.3, 0.0])
    x = torch.randn(2, 2, 20)
    assert not torch.allclose(model(x.flip(2)), model(x), atol=1e-4)
    nn.init.zeros_(model.pos_embedding)
    torch.testing.assert_close(model(x.flip(2)), model(x))
    assert model.dropout.p == 0.3
