"""What is trained: activation, first weights, normalisation, size, family."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from fitwell.families import OF_SEQUENCES, RECURRENT
from fitwell.recipe import Recipe
from fitwell.record import Finding
from fitwell.remedies.edits import Edit, is_count, useful
from fitwell.settings import choices, defaults, known
from fitwell.spec import Spec

_WIDEST = {"model.width": 2048, "model.growth": 256}
# What is put on trial in place of each; small enough for the time that a trial has.
_CONVNET: Edit = {"model.name": "convnet"}
_RESNET = {"model.name": "resnet", "model.depth": 20, "model.width": 16}
_OF_IMAGES: dict[str, Edit] = {
    "linear": _CONVNET,
    "mlp": _CONVNET,
    "lenet": _CONVNET,
    "convnet": _RESNET,
    "alexnet": _RESNET,
    "nin": _RESNET,
}
# What a linear forecast of trend and rest is mostly better than (Zeng et al. 2023).
_LESS_THAN_LINEAR = ("linear", "mlp", "autoregressive", *OF_SEQUENCES)
_STRONGER: dict[str, dict[str, Edit]] = {
    "images": _OF_IMAGES,
    "audio": {**_OF_IMAGES, **dict.fromkeys(RECURRENT, _CONVNET)},  # their spectrograms
    "table": {"linear": {"model.name": "mlp"}},
    "series": {
        "linear": {"model.name": "mlp"},
        **{name: {"model.name": "fcn"} for name in ("mlp", *RECURRENT)},
    },
    "text": {name: {"model.name": "bag_of_words"} for name in OF_SEQUENCES},
    "language": {},
    "forecasting": {
        **{name: {"model.name": "dlinear"} for name in _LESS_THAN_LINEAR},
        "dlinear": {"model.name": "mlp"},
    },
}
_RECTIFIERS = frozenset({"relu", "leaky_relu", "prelu", "elu", "selu", "gelu", "silu", "mish"})


def relu(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Change to ReLU, with an initialisation that suits it or as it is.

    Use: vanishing_gradient, saturated_activation
    Weakness: units can die
    Source: Nair and Hinton 2010, ICML; He et al. 2015, ICCV
    """
    if not _is_choice(recipe, "activation") or recipe["model.activation"] in _RECTIFIERS:
        return []
    change = {"model.activation": "relu"}
    inits = [{"model.init": "he"}, {"model.init": "xavier_uniform"}]
    suited = [{**change, **init} for init in inits if _is_choice(recipe, "init")]
    # Alone first: one change at a time shows what helped.
    return useful(recipe, [change, *suited])


def leaky_units(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Change to an activation that passes some gradient everywhere.

    Use: dying_relu
    Weakness: GELU costs more time
    Source: Maas, Hannun and Ng 2013, ICML workshop; Hendrycks and Gimpel 2016
    """
    if not _is_choice(recipe, "activation"):
        return []
    # Of our own models, one that has fewer activations (an RNN's state) does not take them.
    taken = choices(dict(_schema(recipe, "activation"))) or ("leaky_relu", "gelu")
    names = [name for name in ("leaky_relu", "gelu") if name in taken]
    return useful(recipe, [{"model.activation": name} for name in names])


def suited_init(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Draw the weights as suits the activation: He for ReLU, Xavier for sigmoid and tanh.

    Use: vanishing_gradient, saturated_activation, dying_relu
    Weakness: little where the layers are normalised
    Source: Glorot and Bengio 2010, AISTATS; He et al. 2015, ICCV
    """
    if not _is_choice(recipe, "init"):
        return []
    # The gates of an LSTM or GRU are bounded, and no setting.
    bounded = recipe.get("model.activation", "tanh") in ("sigmoid", "tanh")
    return useful(recipe, [{"model.init": "xavier_uniform" if bounded else "he"}])


def gates(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """LSTM or GRU in place of an RNN: a state that gates keep.

    Use: vanishing_gradient, idle_state, exploding_gradient, underfitting, no_better_than_trivial, of an RNN
    Weakness: four times the work, three times of a GRU
    Source: Hochreiter and Schmidhuber 1997, Neural Computation 9; Cho et al. 2014, EMNLP
    """
    if recipe.get("model.name") != "rnn":
        return []
    return [{"model.name": name} for name in ("lstm", "gru")]


def all_steps(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Let the head of a recurrent network read all steps: their mean, or their maximum.

    Use: vanishing_gradient, through time
    Weakness: what the steps say together, in their order, is left to the state
    Source: Collobert et al. 2011, Journal of Machine Learning Research 12 (maximum over time)
    """
    if "steps_back" not in finding.evidence or recipe.get("model.pooling") != "last":
        return []
    return [] if spec.task == "language" else [{"model.pooling": how} for how in ("mean", "max")]


def long_memory(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Draw the state's weights orthogonal; an LSTM's forget bias for as many steps as there are.

    Formula: forget bias = log(steps)
    Use: vanishing_gradient, through time
    Weakness: what is kept at first has to be forgotten by training
    Source: Saxe, McClelland and Ganguli 2014, ICLR; Tallec and Ollivier 2018, ICLR
    """
    if "steps_back" not in finding.evidence:
        return []
    kept = round(math.log(finding.evidence["steps_back"] + 1), 1)
    bias: Any = recipe.get("model.forget_bias", math.inf)
    init = recipe.get("model.recurrent_init") == "default"
    longer = [{"model.forget_bias": kept}] if bias < kept else []
    return ([{"model.recurrent_init": "orthogonal"}] if init else []) + longer


def layer_norm(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Normalise the features of each step, behind every recurrent layer.

    Use: vanishing_gradient, exploding_gradient, lr_too_high, of recurrent networks
    Weakness: the state itself is not normalised
    Source: Ba, Kiros and Hinton 2016, arXiv 1607.06450
    """
    if "layer" not in _norms(recipe) or "batch" in _norms(recipe):
        return []
    return [{"model.norm": "layer"}] if recipe.get("model.norm") == "none" else []


def batch_norm(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Normalise every hidden layer over the batch.

    Use: vanishing_gradient, saturated_activation, lr_too_high
    Weakness: small batches; training and evaluation differ
    Source: Ioffe and Szegedy 2015, ICML
    """
    possible = "batch" in _norms(recipe) or not _norms(recipe)  # a user's own model may have it too
    return [{"model.norm": "batch"}] if possible and recipe.get("model.norm") == "none" else []


def wider(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Twice the width, or the family's next size.

    Use: underfitting
    Weakness: four times the work in the hidden layers
    Source: Zagoruyko and Komodakis 2016, BMVC
    """
    if sizes := _sizes(recipe):
        return [{"model.size": size} for size in sizes[1][:1]]
    name, width = _width(recipe)
    return [{name: 2 * width}] if is_count(width) and width <= _WIDEST[name] else []


def narrower(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Half the width, or the family's size before.

    Use: overfitting
    Weakness: often costs more than it brings; regularise first
    Source: Geman, Bienenstock and Doursat 1992
    """
    if sizes := _sizes(recipe):
        return [{"model.size": size} for size in sizes[0][-1:]]
    name, width = _width(recipe)
    return [{name: width // 2}] if is_count(width) and width >= 8 else []


def deeper(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """One hidden layer, or block, more; the family's next depth where it has only some.

    Use: underfitting
    Weakness: gradients have further to go
    Source: Simonyan and Zisserman 2015, ICLR
    """
    depth: Any = recipe.get("model.depth")
    if not is_count(depth):
        return []
    if choices := _schema(recipe, "depth").get("enum"):
        # In the order of the family's own list: what stands behind a depth is of its kind.
        following = choices[choices.index(depth) + 1 :][:1] if depth in choices else []
        return [{"model.depth": more} for more in following if more > depth]
    return [{"model.depth": depth + 1, **_one_rate(recipe)}] if depth < 20 else []


def follow_level(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Of a forecast, each window less its last value, or standardised by itself.

    Use: series whose level moves, so that the future lies where no training window did
    Weakness: what the level itself says of the future is lost
    Source: Zeng, Chen, Zhang and Xu 2023, AAAI (NLinear); Kim et al. 2022, ICLR (RevIN)
    """
    if spec.task != "forecasting" or recipe.get("model.subtract") not in ("none", "last", "mean"):
        return []
    return useful(recipe, [{"model.subtract": "last"}, {"model.subtract": "mean"}])


def other_family(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """A stronger family: a convnet, ResNet, MLP, FCN, DLinear or bag of words, as suits the data.

    Use: underfitting, idle_state, no_better_than_trivial, or when nothing else is wrong
    Weakness: slower; settings found for the old family may not suit the new one
    Source: LeCun et al. 1998, Proceedings of the IEEE 86; Ioffe and Szegedy 2015, ICML; He et al.
        2016, CVPR; of networks that read step by step Wang, Yan and Oates 2017, IJCNN; Zeng, Chen,
        Zhang and Xu 2023, AAAI
    """
    model = str(recipe.get("model.name"))
    change = _STRONGER.get(spec.task, _STRONGER.get(spec.kind, {})).get(model)
    # A residual network costs several times a convnet: only where more capacity is asked for.
    if change is None or (model == "convnet" and finding.name != "underfitting"):
        return []
    name = change["model.name"]
    # Its size and normalisation are its own: LeNet's 6 channels would make a poor convnet.
    own = defaults("model", name)
    sizes = {f"model.{key}": own[key] for key in ("width", "depth", "norm") if key in own}
    wanted = {**sizes, **change, **_one_rate(recipe)}
    if isinstance(rules := recipe.get("model.init"), list):
        wanted["model.init"] = rules[0]  # the others name modules, which are others there
    return [{key: v for key, v in wanted.items() if key in recipe and recipe[key] != v}]


def _one_rate(recipe: Recipe) -> Edit:
    """Of dropout by layer its mean for all of them: there will be other layers."""
    rates = recipe.get("model.dropout")
    return {"model.dropout": round(fmean(rates), 3)} if isinstance(rates, list) else {}


def _sizes(recipe: Recipe) -> tuple[list[str], list[str]] | None:
    """The names of the family's smaller and larger sizes, where it has some."""
    names, size = list(_schema(recipe, "size").get("enum", ())), recipe.get("model.size")
    if size not in names:
        return None
    place = names.index(size)
    return names[:place], names[place + 1 :]


def _width(recipe: Recipe) -> tuple[str, Any]:
    """The setting that scales the model's channels, and its value."""
    name = "model.growth" if _schema(recipe, "growth") else "model.width"
    # Without a hidden layer there is nothing that it would scale.
    return name, recipe.get(name) if recipe.get("model.depth") != 0 else None


def _norms(recipe: Recipe) -> Sequence[str]:
    """What `model.norm` may be; empty for a user's own model."""
    return choices(dict(_schema(recipe, "norm")))


def _schema(recipe: Recipe, key: str) -> Mapping[str, Any]:
    """The schema of `model.key`; empty for a user's own model."""
    return known()["model"].get(str(recipe.get("model.name")), {}).get(key, {})


def _is_choice(recipe: Recipe, key: str) -> bool:
    """Whether `model.key` holds one of our own names: a user's builder may mean another thing."""
    return recipe.get(f"model.{key}") in choices(known()["model"]["mlp"].get(key, {}))
