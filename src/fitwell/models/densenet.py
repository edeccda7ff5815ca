"""DenseNet: every layer sees the maps of all layers before it."""

from typing import Annotated, Literal, TypeAlias

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from fitwell.models.parts import assemble, dropout_rates, in_order
from fitwell.models.stems import Stem, norm_or_pass, stem_for
from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.norms import norm_2d
from fitwell.nn.types import Activation, Dropout, Init, Norm
from fitwell.spec import Spec

Growth: TypeAlias = Annotated[
    int,
    Field(ge=1, le=1024, description="channels that each layer adds; the first has twice as many"),
]
DenseNetDepth: TypeAlias = Annotated[
    Literal[22, 40, 100, 121, 169, 201],
    Field(description="layers: 22 to 100 in three blocks, for small images; 121 to 201 in four"),
]
_BLOCKS = {
    22: (3, 3, 3),
    40: (6, 6, 6),
    100: (16, 16, 16),
    121: (6, 12, 24, 16),
    169: (6, 12, 32, 32),
    201: (6, 12, 48, 32),
}
_BOTTLENECK = 4  # times growth: channels between the 1x1 and the 3x3 convolution


class DenseLayer(nn.Module):
    """[x, conv 3x3 - f - norm - conv 1x1 - f - norm]: what it was given and `growth` maps more."""

    def __init__(
        self, channels: int, growth: int, *, activation: str, norm: str, rate: float
    ) -> None:
        super().__init__()
        between, bias = _BOTTLENECK * growth, norm != "batch"
        self.norm1 = norm_or_pass(norm, channels)
        self.activation1 = ACTIVATIONS[activation]()
        self.conv1 = nn.Conv2d(channels, between, 1, bias=bias)
        self.norm2 = norm_or_pass(norm, between)
        self.activation2 = ACTIVATIONS[activation]()
        self.conv2 = nn.Conv2d(between, growth, 3, padding=1, bias=bias)
        self.dropout = nn.Dropout(rate) if rate > 0 else nn.Identity()

    def forward(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch more height width"]:
        y = self.conv1(self.activation1(self.norm1(x)))
        y = self.conv2(self.activation2(self.norm2(y)))
        return torch.cat([x, self.dropout(y)], 1)


def densenet(
    spec: Spec,
    *,
    depth: DenseNetDepth = 22,
    growth: Growth = 32,
    stem: Stem = "auto",
    activation: Activation = "relu",
    norm: Norm = "batch",
    dropout: Dropout = 0.0,
    init: Init = "default",
) -> nn.Sequential:
    """Dense blocks: each layer adds a few maps to all that came before.

    Formula: x_l = [x_{l-1}, H(x_{l-1})], H = norm - f - conv 1x1 - norm - f - conv 3x3; between blocks
        norm - f - conv 1x1 to half the channels - mean 2x2
    Use: images; the most accuracy for few parameters
    Weakness: slow for its multiplications, and hungry for memory: every map is read again and again
    Source: Huang, Liu, van der Maaten and Weinberger 2017, CVPR, table 1 (121 to 201) and section 4.2
        (DenseNet-BC 40 and 100, with `growth=12`)

    Large stem: conv 7x7 with stride 2, max pool 3x3 with stride 2. Small: conv 3x3. `growth` is its
    width. Dropout stands behind each layer; a list has one rate a block.

    Ours differs: 22 layers by default, after the paper's formula of 6 n + 4. Parameters have
    torchvision's names.

    >>> import torch
    >>> model = densenet(Spec("images", "regression", (1, 9, 7)), growth=4)
    >>> model(torch.zeros(5, 1, 9, 7)).shape
    torch.Size([5, 1])
    """
    blocks = _BLOCKS[depth]
    halvings = 2 ** (len(blocks) - 1)
    (channels, _, _), small = stem_for(
        spec, "densenet", stem, smallest=(halvings, 4 * halvings - 3)
    )
    rates = dropout_rates(dropout, len(blocks), "blocks")
    bias, width = norm != "batch", 2 * growth
    features: dict[str, nn.Module | None] = {
        "conv0": nn.Conv2d(channels, width, 3, padding=1, bias=bias)
    }
    if not small:
        features = {
            "conv0": nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=bias),
            "norm0": norm_2d(norm, width),
            "relu0": ACTIVATIONS[activation](),
            "pool0": nn.MaxPool2d(3, stride=2, padding=1),
        }
    channels = width
    for i, (num_layers, rate) in enumerate(zip(blocks, rates, strict=True), start=1):
        block: dict[str, nn.Module | None] = {}
        for j in range(1, num_layers + 1):
            block[f"denselayer{j}"] = DenseLayer(
                channels, growth, activation=activation, norm=norm, rate=rate
            )
            channels += growth
        features[f"denseblock{i}"] = in_order(block)
        if i < len(blocks):
            transition: dict[str, nn.Module | None] = {
                "norm": norm_2d(norm, channels),
                "activation": ACTIVATIONS[activation](),
                "conv": nn.Conv2d(channels, channels // 2, 1, bias=bias),
                "pool": nn.AvgPool2d(2),
            }
            features[f"transition{i}"] = in_order(transition)
            channels //= 2
    features[f"norm{len(blocks) + 1}"] = norm_2d(norm, channels)
    layers: dict[str, nn.Module | None] = {
        "features": in_order(features),
        "activation": ACTIVATIONS[activation](),
        "avgpool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "classifier": nn.Linear(channels, spec.num_outputs),
    }
    return assemble(layers, init)
