"""Modules of our own: self-attention against torch's, stochastic depth by its expectation."""

import pytest
import torch
from torch import nn

from fitwell.nn.attention import SelfAttention
from fitwell.nn.droppath import DropPath, drop_path


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
