"""Modules of our own: self-attention against torch's, stochastic depth by its expectation."""

import pytest
import torch
from torch import nn

from fitwell.nn.attention import SelfAttention
from fitwell.nn.columns import ColumnInputs, Waves
from fitwell.nn.droppath import DropPath, drop_path
from fitwell.optim import parameter_groups
from fitwell.spec import Column


@pytest.mark.parametrize("tokens", [1, 5, 128, 129])  # written out up to 128, fused beyond
def test_self_attention_is_that_of_torch(tokens: int) -> None:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double()
    ours = SelfAttention(12, 3).double()
    ours.load_state_dict(theirs.state_dict())
    results = []
    for model in (theirs, ours):
        x = torch.randn(2, tokens, 12, generator=torch.Generator().manual_seed(1)).double()
        x.requires_grad_()
        y = model(x, x, x, need_weights=False)[0] if model is theirs else model(x)
        y.square().sum().backward()
        results.append([y.detach(), x.grad, *(p.grad for p in model.parameters())])
    torch.testing.assert_close(results[1], results[0], atol=1e-12, rtol=1e-10)


def test_self_attention_starts_as_that_of_torch() -> None:
    models = []
    for kind in (lambda: nn.MultiheadAttention(256, 4), lambda: SelfAttention(256, 4)):
        torch.manual_seed(0)
        models.append(kind())
    for (name, one), (_, two) in zip(*(m.named_parameters() for m in models), strict=True):
        assert one.mean().item() == pytest.approx(two.mean().item(), abs=2e-3), name
        assert one.std().item() == pytest.approx(two.std().item(), rel=0.02, abs=1e-9), name


@pytest.mark.parametrize("tokens", [5, 129])
def test_self_attention_drops_shares_of_the_mean_in_training(tokens: int) -> None:
    """With equal tokens a mean is the token itself, so dropout shows as a factor: on average 1."""
    torch.manual_seed(0)
    model = SelfAttention(4, 2, dropout=0.5, bias=False)
    x = torch.ones(400, tokens, 4)
    expected = model.eval()(x)
    dropped = model.train()(x)
    assert not torch.allclose(dropped, expected, atol=1e-3)
    spread = dropped.std((0, 1)).max() / (400 * tokens) ** 0.5
    torch.testing.assert_close(dropped.mean((0, 1)), expected[0, 0], atol=5 * spread.item(), rtol=0)


def test_order_of_the_tokens_does_not_matter() -> None:
    torch.manual_seed(0)
    model, x, order = SelfAttention(8, 2), torch.randn(2, 6, 8), torch.randperm(6)
    torch.testing.assert_close(model(x[:, order]), model(x)[:, order])


def test_drop_path_keeps_the_expectation_and_drops_whole_examples() -> None:
    torch.manual_seed(0)
    layer, x = DropPath(0.3), torch.randn(3, 4).repeat(20_000, 1).requires_grad_()
    y = layer(x)
    kept = y[:, 0] != 0
    assert kept.float().mean().item() == pytest.approx(0.7, abs=0.006)  # three standard errors
    torch.testing.assert_close(y[kept], x[kept] / 0.7)
    assert not y[~kept].any()
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, (kept / 0.7)[:, None].expand(-1, 4))


def test_drop_path_is_the_identity_in_evaluation_and_at_rate_0() -> None:
    x = torch.randn(5, 3, 2, 2)
    assert DropPath(0.9).eval()(x) is x
    assert isinstance(drop_path(0.0), nn.Identity) and isinstance(drop_path(0.1), DropPath)


# age, three towns, a date (7 features), 5 kinds: 1 + 3 + 7 + 5 features
COLUMNS = (
    Column("age"),
    Column("town", "category", ("a", "b", "c")),
    Column("day", "date"),
    Column("kind", "category", ("p", "q", "r", "s", "t")),
)


def test_categories_are_embedded_as_torch_does_and_a_missing_one_is_nothing() -> None:
    torch.manual_seed(0)
    layer = ColumnInputs(COLUMNS, embedding=3)
    x = torch.randn(6, 16)
    kinds = torch.tensor([0, 4, 2, 2, 1])
    x[:, 11:] = 0
    x[:5, 11:] = torch.eye(5)[kinds]  # the last example's kind is missing
    out = layer(x)
    assert out.shape == (6, layer.width) == (6, 1 + 7 + 3 + 3)
    torch.testing.assert_close(out[:, 0], x[:, 0])  # numbers first, then what stays one-hot
    torch.testing.assert_close(out[:, 1:8], x[:, 4:11])
    torch.testing.assert_close(out[:, 8:11], x[:, 1:4])
    table = nn.Embedding.from_pretrained(layer.tables[0].weight.T)  # type: ignore[union-attr, arg-type]
    torch.testing.assert_close(out[:5, 11:], table(kinds))
    assert (out[5, 11:] == 0).all()


def test_columns_of_few_categories_keep_their_features() -> None:
    for embedding, width in ((0, 16), (3, 14), (4, 15), (5, 16)):
        layer = ColumnInputs(COLUMNS, embedding=embedding)
        assert layer.width == width == layer(torch.zeros(2, 16)).shape[1]


def test_waves_are_the_formula_in_float64() -> None:
    torch.manual_seed(0)
    layer = Waves(2, waves=5, mixtures=3, spread=0.7).double()
    layer.bias.data.normal_()
    x = torch.randn(4, 2).double()
    out = layer(x)
    torch.testing.assert_close(out[:, :2], x)
    for number in range(2):
        angle = (
            2
            * torch.pi
            * (x[:, number, None] * layer.frequency_bias[number] + layer.phase_bias[number])
        )
        weight = layer.weight[3 * number : 3 * number + 3]
        expected = angle.cos() @ weight.T + layer.bias[number]
        torch.testing.assert_close(out[:, 2 + 3 * number : 5 + 3 * number], expected)


def test_waves_are_of_numbers_alone_and_frequencies_are_not_decayed() -> None:
    layer = ColumnInputs(COLUMNS, waves=4)
    assert layer.waves is not None and layer.waves.frequency_bias.shape == (8, 4)
    assert layer.width == 16 + 3 * 8 == layer(torch.zeros(2, 16)).shape[1]
    [decayed, others] = parameter_groups(layer, 0.1)
    assert decayed["names"] == ["waves.weight"] and len(others["names"]) == 3
    only = (Column("town", "category", ("a", "b")),)
    assert ColumnInputs(only, waves=4).waves is None
