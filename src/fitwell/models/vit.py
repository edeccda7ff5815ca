"""ViT: an image as a sequence of patches, read by a transformer."""

from typing import Annotated, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from fitwell.errors import SettingError
from fitwell.models.parts import check_heads, draw, dropout_1d, dropout_rates, in_order
from fitwell.models.stems import DropPathRate, Stem, stem_for
from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.attention import SelfAttention, There
from fitwell.nn.droppath import drop_path as path
from fitwell.nn.types import Activation, Depth, Dropout, Init, Width
from fitwell.spec import Spec

Patch: TypeAlias = Annotated[
    int,
    Field(
        ge=0,
        le=256,
        description="side of a patch in pixels; 0: the largest power of two of which seven fit "
        "along the shorter side",
    ),
]
Heads: TypeAlias = Annotated[
    int, Field(ge=1, le=256, description="attention heads; they share model.width evenly")
]
Tokens: TypeAlias = Float[Tensor, "batch token feature"]

_EPSILON = 1e-6  # of the layer normalisation, as in the paper's code
_PATCHES = 7  # along the shorter side, at least
_STD = 0.02  # of the first class token, and of its position


class EncoderLayer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); figure 1 on the right."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        activation: str,
        rate: float,
        drop: float,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=_EPSILON)
        self.self_attention = SelfAttention(width, heads, causal=causal)
        self.dropout = dropout_1d(rate) or nn.Identity()
        self.ln_2 = nn.LayerNorm(width, eps=_EPSILON)
        mlp: dict[str, nn.Module | None] = {
            "0": nn.Linear(width, 4 * width),
            "1": ACTIVATIONS[activation](),
            "2": dropout_1d(rate),
            "3": nn.Linear(4 * width, width),
            "4": dropout_1d(rate),
        }
        self.mlp = in_order(mlp)
        self.drop_path = path(drop)

    def forward(self, x: Tokens, there: There = None) -> Tokens:
        x = x + self.drop_path(self.dropout(self.self_attention(self.ln_1(x), there)))
        return x + self.drop_path(self.mlp(self.ln_2(x)))


class Encoder(nn.Module):
    """The tokens with their positions, through all layers."""

    def __init__(
        self, layers: nn.Sequential, *, grid: tuple[int, int], width: int, rate: float
    ) -> None:
        super().__init__()
        token = _STD * torch.randn(1, width)  # of the class token, which is nowhere
        self.pos_embedding = nn.Parameter(torch.cat([token, positions(*grid, width)])[None])
        self.dropout = dropout_1d(rate) or nn.Identity()
        self.layers = layers
        self.ln = nn.LayerNorm(width, eps=_EPSILON)

    def forward(self, x: Tokens) -> Tokens:
        return self.ln(self.layers(self.dropout(x + self.pos_embedding)))


def positions(rows: int, columns: int, width: int) -> Float[Tensor, "place feature"]:
    """Sines and cosines of row and column at a quarter of `width` frequencies each; zero where it is no
    multiple of four.

    Formula: sin and cos of y / 10000^(k / q), then of x / 10000^(k / q), for k = 0 ... q - 1, q = width / 4
    Source: Vaswani et al. 2017, section 3.5; of two axes Chen, Xie and He 2021, ICCV (MoCo v3)

    >>> positions(2, 3, width=8).shape, positions(1, 1, width=4).tolist()
    (torch.Size([6, 8]), [[0.0, 1.0, 0.0, 1.0]])
    """
    frequencies = width // 4
    rates = 10_000.0 ** -(torch.arange(frequencies) / max(1, frequencies))
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [axis.flatten()[:, None] * rates for axis in (y, x)]
    waves = [wave(angle) for angle in angles for wave in (torch.sin, torch.cos)]
    return F.pad(torch.cat(waves, 1), (0, width - 4 * frequencies))


class VisionTransformer(nn.Module):
    """Patches become tokens behind a class token, whose last state goes to the head."""

    def __init__(
        self,
        *,
        pad: nn.Module,
        conv_proj: nn.Module,
        encoder: Encoder,
        head: nn.Linear,
    ) -> None:
        super().__init__()
        self.class_token = nn.Parameter(_STD * torch.randn(1, 1, head.in_features))
        self.pad = pad
        self.conv_proj = conv_proj
        self.encoder = encoder
        self.heads = in_order({"head": head})

    def forward(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch output"]:
        patches = self.conv_proj(self.pad(x)).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(x.shape[0], -1, -1), patches], 1)
        return self.heads(self.encoder(tokens)[:, 0])


def convolutions(channels: int, width: int, patch: int, activation: str) -> nn.Sequential:
    """A token a patch from 3x3 convolutions, each of which halves the image and doubles its channels, as
    often as a patch can be halved; what is left of it is projected."""
    halvings = (patch & -patch).bit_length() - 1  # how often 2 divides it
    layers: dict[str, nn.Module | None] = {}
    before, rest = channels, patch >> halvings
    for i in range(max(1, halvings)):
        out = max(1, width >> max(0, halvings - 1 - i))
        layers[f"conv_{i + 1}"] = nn.Conv2d(before, out, 3, 2 if halvings else 1, 1, bias=False)
        layers[f"bn_{i + 1}"] = nn.BatchNorm2d(out)
        layers[f"act_{i + 1}"] = ACTIVATIONS[activation]()
        before = out
    layers["proj"] = nn.Conv2d(before, width, rest, rest)
    return in_order(layers)


def vit(
    spec: Spec,
    *,
    width: Width = 64,
    depth: Depth = 6,
    heads: Heads = 4,
    patch: Patch = 0,
    stem: Stem = "large",
    activation: Activation = "gelu",
    dropout: Dropout = 0.0,
    drop_path: DropPathRate = 0.0,
    init: Init = "xavier_uniform",
) -> VisionTransformer:
    """Vision transformer: each patch of the image is a token that attends to all others.

    Formula: z = [class; E p_1; ...; E p_n] + positions; depth times z = z + attention(norm(z)),
        z = z + mlp(norm(z)) with 4 width hidden units; the head reads norm(z)[class]
    Use: large data sets, or fine-tuning; small images to learn how it works
    Weakness: knows nothing of neighbourhood, so on few images it falls behind convolutions
    Source: Dosovitskiy et al. 2021, ICLR, equations 1 to 4; Vaswani et al. 2017, NeurIPS

    ViT-B/16 is width 768, depth 12, heads 12, patch 16; its parameters have torchvision's names. Where
    patches do not cover the image evenly, zeros are added on the right and below. A list of `dropout`
    has one rate a layer.

    Large stem: one linear projection of a patch, as in equation 1. Small, by default in recipes for images
    of less than 96 pixels: 3x3 convolutions with batch normalisation, each of which halves the image, then
    a projection of what is left of a patch (the hybrid of section 3.1, by the convolutions of Xiao et al.
    2021, NeurIPS). They know of neighbourhood, which few or small images do not teach.

    Ours differs: small by default; positions start as sines and cosines instead of small random numbers,
    and are trained all the same; the head is drawn like every other weight rather than zero.

    >>> import torch
    >>> model = vit(Spec("images", "regression", (1, 9, 7)), width=8, depth=1)
    >>> model(torch.zeros(5, 1, 9, 7)).shape
    torch.Size([5, 1])
    """
    (channels, height, across), small = stem_for(spec, "vit", stem, smallest=(1, 1))
    if patch > min(height, across):
        raise SettingError(
            f"model.name=vit with model.patch={patch} needs images of at least {patch}x{patch}, and "
            f"these are {height}x{across}. Set data.image_size={patch}, or "
            f"model.patch={patch_for(min(height, across))}.",
            setting="model.patch",
        )
    check_heads(heads, width)
    rates = dropout_rates(dropout, depth, "layers (model.depth)")
    side = patch or patch_for(min(height, across))
    rows, columns = -(-height // side), -(-across // side)
    missing = (0, columns * side - across, 0, rows * side - height)  # left, right, above, below
    layers: dict[str, nn.Module | None] = {
        f"encoder_layer_{i}": EncoderLayer(
            width, heads, activation=activation, rate=rate, drop=drop_path * (i + 1) / depth
        )
        for i, rate in enumerate(rates)
    }
    model = VisionTransformer(
        pad=nn.ZeroPad2d(missing) if any(missing) else nn.Identity(),
        conv_proj=convolutions(channels, width, side, activation)
        if small
        else nn.Conv2d(channels, width, side, stride=side),
        encoder=Encoder(in_order(layers), grid=(rows, columns), width=width, rate=rates[0]),
        head=nn.Linear(width, spec.num_outputs),
    )
    return draw(model, init)


def patch_for(side: int) -> int:
    """The largest power of two of which seven fit along `side`; at least 1.

    >>> [patch_for(side) for side in (5, 8, 28, 32, 64, 224)]
    [1, 1, 4, 4, 8, 32]
    """
    return 2 ** max(0, (side // _PATCHES).bit_length() - 1)
