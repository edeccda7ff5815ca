"""Self-attention, where torch's own is slow."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

Tokens = Float[Tensor, "batch token feature"]
There = Bool[Tensor, "batch token"] | None  # None: every token is one

# Up to so many tokens the scores of all pairs fit the cache, and writing them out is quicker on a
# processor: the fused kernel's backward takes 11 times as long (50 tokens, 4 heads of 32, bfloat16).
_FEW_TOKENS = 128


class SelfAttention(nn.Module):
    """Every token becomes a mean of all tokens' values, weighted by how its query meets their keys.

    Formula: softmax(Q K^T / sqrt(d)) V in each head of d features; Q, K, V = x W; heads joined by W_o
    Use: sets and sequences in which any two elements may matter to each other
    Weakness: work and memory grow with the square of the number of tokens; knows no order by itself
    Source: Vaswani et al. 2017, NeurIPS, section 3.2

    Parameters have the names, shapes and first values of `torch.nn.MultiheadAttention`. `dropout` is
    the share of the weights of a mean that is zeroed while training. `causal`: of itself and the tokens
    before it alone. Tokens that are not `there` are in no mean.

    >>> SelfAttention(8, heads=2)(torch.zeros(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        dropout: float = 0.0,
        bias: bool = True,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.dropout, self.causal = heads, dropout, causal
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width)) if bias else None
        self.out_proj = nn.Linear(width, width, bias)
        nn.init.xavier_uniform_(self.in_proj_weight)
        if bias:
            nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tokens, there: There = None) -> Tokens:
        joined = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        # [3, batch, head, token, feature of the head]
        query, key, value = joined.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        dropped = self.dropout if self.training else 0.0
        if x.device.type == "cpu" and x.shape[1] <= _FEW_TOKENS:
            scores = (query * query.shape[-1] ** -0.5) @ key.mT
            seen = self._seen(x, there)
            shares = (scores if seen is None else scores.masked_fill(~seen, -torch.inf)).softmax(-1)
            mixed = (F.dropout(shares, dropped) if dropped else shares) @ value
        else:
            alone = self.causal and there is None  # for which the kernels need no mask
            seen = None if alone else self._seen(x, there)
            mixed = F.scaled_dot_product_attention(
                query, key, value, attn_mask=seen, dropout_p=dropped, is_causal=alone
            )
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _seen(self, x: Tokens, there: There) -> Tensor | None:
        """Which tokens each of them sees, to be broadcast to [batch, head, token, token]; None: all."""
        seen = None if there is None else there[:, None, None]
        if self.causal:
            count = x.shape[1]
            before = torch.ones(count, count, dtype=torch.bool, device=x.device).tril()
            seen = before if seen is None else before & seen
        return seen
