"""Bag of words: the textbook's first model of texts."""

from typing import Annotated, TypeAlias

from pydantic import Field
from torch import nn

from fitwell.errors import SettingError
from fitwell.models.parts import assemble, dropout_1d, dropout_rates, hidden_layers
from fitwell.nn.bag import BagOfWords, Counting
from fitwell.nn.types import Activation, Dropout, Init, Norm, Width
from fitwell.spec import RESERVED, Spec

HiddenLayers: TypeAlias = Annotated[
    int,
    Field(
        ge=0,
        le=100,
        description="hidden layers between the bag of words and the head; 0: a weight a word and class, "
        "which is the linear model",
    ),
]
HowCounted: TypeAlias = Annotated[
    Counting,
    Field(
        description="what a word of the text is worth; presence: 1 however often it stands there; counts: "
        "how often it does; log_counts: the logarithm of that and 1"
    ),
]


def bag_of_words(
    spec: Spec,
    *,
    counting: HowCounted = "presence",
    depth: HiddenLayers = 0,
    width: Width = 64,
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: Dropout = 0.0,
    init: Init = "default",
) -> nn.Sequential:
    """The words of a text, whatever their order, with a weight each; or hidden layers above them.

    Formula: z = W x + b, x the vector of the words that stand in the text (`BagOfWords`); with hidden
        layers an mlp of x
    Use: what a text is about, or whether it praises; the reference that every network of texts must beat
    Weakness: knows nothing of order, nor of words that the training texts did not have
    Source: Harris 1954, Word 10; Iyyer, Manjunatha, Boyd-Graber and Daume 2015, ACL (hidden layers)

    `width`, `activation` and `norm` are those of the hidden layers. Dropout stands after the words and
    after each activation, so a list has one rate more than there are hidden layers.

    >>> import torch
    >>> spec = Spec("text", "classification", (9,), ("bad", "good"), vocabulary=50)
    >>> bag_of_words(spec)(torch.ones(5, 9, dtype=torch.int32)).shape
    torch.Size([5, 2])
    """
    if spec.kind != "text":
        raise SettingError(
            f"model.name=bag_of_words reads texts, and these are {spec.examples}. Set model.name=mlp, or "
            "data.text for a column of texts.",
            setting="model.name",
        )
    rates = dropout_rates(dropout, depth + 1, "places: the words, and each hidden layer")
    size = spec.vocabulary - RESERVED
    layers: dict[str, nn.Module | None] = {"bag": BagOfWords(spec.vocabulary, counting)}
    layers["dropout"] = dropout_1d(rates[0])
    layers |= hidden_layers(size, [width] * depth, rates[1:], activation=activation, norm=norm)
    layers["head"] = nn.Linear(width if depth else size, spec.num_outputs)
    return assemble(layers, init)
