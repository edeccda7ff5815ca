"""The table of remedies: each entry gives edits of a recipe, the best guess first. No torch.

Only settings that the recipe has, only values that it does not have yet; nothing where it does not
apply.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from fitwell import store
from fitwell.errors import FitwellError, SettingError
from fitwell.options import fine_tuning
from fitwell.recipe import Recipe
from fitwell.record import Finding
from fitwell.settings import choices, defaults, known
from fitwell.spec import Spec

Edit: TypeAlias = dict[str, Any]
Guess: TypeAlias = Callable[[Recipe, Spec, Finding], list[Edit]]

# Learning rates outside of this have no use; SGD is with momentum, the others' is a multiple of
# their default: 1e-6 to 0.03 for Adam.
_SGD_RANGE, _ADAPTIVE_RANGE = (1e-4, 1.0), (1e-3, 30.0)
_GOOD_UPDATE = 3e-3  # of a layer's norm a step, in the middle of what healthy runs show
_WIDEST = {"model.width": 2048, "model.growth": 256}
# What is put on trial in place of each; small enough for the time that a trial has.
_CONVNET = {"model.name": "convnet"}
_RESNET = {"model.name": "resnet", "model.depth": 20, "model.width": 16}
_STRONGER: dict[str, dict[str, Edit]] = {
    "images": {
        "linear": _CONVNET,
        "mlp": _CONVNET,
        "lenet": _CONVNET,
        "convnet": _RESNET,
        "alexnet": _RESNET,
        "nin": _RESNET,
    },
    "table": {"linear": {"model.name": "mlp"}},
}
_RECTIFIERS = frozenset({"relu", "leaky_relu", "prelu", "elu", "selu", "gelu", "silu", "mish"})


def higher_lr(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Raise the learning rate: by what the measured updates ask for, 3 and 10 times.

    Use: lr_too_low, underfitting
    Weakness: too much of it breaks training
    Source: Smith 2017, WACV
    """
    factors = [10.0, 3.0]
    update = finding.evidence.get("update_ratio")
    if finding.name == "lr_too_low" and update:
        # 3, 10, 30, 100 ...: half a power of ten is as exact as this can be.
        wanted = 10 ** (round(2 * math.log10(_GOOD_UPDATE / update)) / 2)
        factors.insert(0, min(300.0, max(3.0, _two_digits(wanted, 1))))
    return _scaled_lr(recipe, factors, finding.evidence.get("divergence_lr"))


def lower_lr(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Lower the learning rate: 3 and 10 times, or to where the range test allows.

    Use: lr_too_high, dying_relu, saturated_activation
    Weakness: training takes longer
    Source: Bengio 2012, Practical recommendations for gradient-based training
    """
    factors = [1 / 3, 1 / 10]
    rate, breaks_at = recipe.get("optim.lr"), finding.evidence.get("divergence_lr")
    if breaks_at and isinstance(rate, int | float) and rate > breaks_at:
        factors.insert(0, breaks_at / 5 / rate)
    elif isinstance(rate, int | float):
        usual = defaults("optim", str(recipe.get("optim.name", "sgd"))).get("lr", rate)
        if rate >= 10 * usual:  # so far off that a third of it will not do
            factors.insert(0, usual / rate)
    return _scaled_lr(recipe, factors, None)


def slightly_higher_lr(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Raise the learning rate 3 times.

    Use: a slow training that is otherwise sound
    Weakness: too much of it breaks training
    Source: Smith 2017, WACV
    """
    return _scaled_lr(recipe, [3.0], finding.evidence.get("divergence_lr"))


def adam(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Change to Adam with its own learning rate.

    Use: layers whose gradients differ much in size
    Weakness: often generalises a little worse than well-tuned SGD
    Source: Kingma and Ba 2015, ICLR
    """
    if recipe.get("optim.name") != "sgd" or "optim.lr" not in recipe:
        return []
    return [{"optim.name": "adam", "optim.lr": defaults("optim", "adam")["lr"]}]


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
    return _useful(recipe, [change, *suited])


def leaky_units(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Change to an activation that passes some gradient everywhere.

    Use: dying_relu
    Weakness: GELU costs more time
    Source: Maas, Hannun and Ng 2013, ICML workshop; Hendrycks and Gimpel 2016
    """
    if not _is_choice(recipe, "activation"):
        return []
    return _useful(recipe, [{"model.activation": name} for name in ("leaky_relu", "gelu")])


def suited_init(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Draw the weights as suits the activation: He for ReLU, Xavier for sigmoid and tanh.

    Use: vanishing_gradient, saturated_activation, dying_relu
    Weakness: little where the layers are normalised
    Source: Glorot and Bengio 2010, AISTATS; He et al. 2015, ICCV
    """
    if not _is_choice(recipe, "init"):
        return []
    bounded = recipe.get("model.activation") in ("sigmoid", "tanh")
    return _useful(recipe, [{"model.init": "xavier_uniform" if bounded else "he"}])


def batch_norm(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Normalise every hidden layer over the batch.

    Use: vanishing_gradient, saturated_activation, lr_too_high
    Weakness: small batches; training and evaluation differ
    Source: Ioffe and Szegedy 2015, ICML
    """
    return [{"model.norm": "batch"}] if recipe.get("model.norm") == "none" else []


def wider(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Twice the width.

    Use: underfitting
    Weakness: four times the work in the hidden layers
    Source: Zagoruyko and Komodakis 2016, BMVC
    """
    name, width = _width(recipe)
    return [{name: 2 * width}] if _is_count(width) and width <= _WIDEST[name] else []


def narrower(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Half the width.

    Use: overfitting
    Weakness: often costs more than it brings; regularise first
    Source: Geman, Bienenstock and Doursat 1992
    """
    name, width = _width(recipe)
    return [{name: width // 2}] if _is_count(width) and width >= 8 else []


def deeper(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """One hidden layer, or block, more; the family's next depth where it has only some.

    Use: underfitting
    Weakness: gradients have further to go
    Source: Simonyan and Zisserman 2015, ICLR
    """
    depth: Any = recipe.get("model.depth")
    if not _is_count(depth):
        return []
    if choices := _schema(recipe, "depth").get("enum"):
        # In the order of the family's own list: what stands behind a depth is of its kind.
        following = choices[choices.index(depth) + 1 :][:1] if depth in choices else []
        return [{"model.depth": more} for more in following if more > depth]
    return [{"model.depth": depth + 1}] if depth < 20 else []


def other_family(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """A stronger family of models: a convnet, then a small ResNet for images; an MLP for tables.

    Use: underfitting, or when nothing else is wrong
    Weakness: slower; settings found for the old family may not suit the new one
    Source: LeCun et al. 1998, Proceedings of the IEEE 86; Ioffe and Szegedy 2015, ICML; He et al.
        2016, CVPR
    """
    model = str(recipe.get("model.name"))
    change = _STRONGER[spec.kind].get(model)
    # A residual network costs several times a convnet: only where more capacity is asked for.
    if change is None or (model == "convnet" and finding.name != "underfitting"):
        return []
    name = change["model.name"]
    # Its size and normalisation are its own: LeNet's 6 channels would make a poor convnet.
    own = defaults("model", name)
    sizes = {f"model.{key}": own[key] for key in ("width", "depth", "norm") if key in own}
    wanted = {**sizes, **change}
    return [{key: v for key, v in wanted.items() if key in recipe and recipe[key] != v}]


def weight_decay(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Ten times the weight decay.

    Use: overfitting
    Weakness: too much of it underfits
    Source: Krogh and Hertz 1991, NeurIPS
    """
    decay = recipe.get("optim.weight_decay")
    if not isinstance(decay, int | float):
        return []
    return _useful(recipe, [{"optim.weight_decay": _two_digits(min(0.1, 10 * decay or 5e-4), 2)}])


def l1(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """A penalty on absolute weights of 1e-4, or ten times the one there is.

    Use: overfitting, above all on tables with columns that do not matter
    Weakness: sgd alone has it; too much of it underfits
    Source: Tibshirani 1996, Journal of the Royal Statistical Society B 58
    """
    penalty = recipe.get("optim.l1")
    if not isinstance(penalty, int | float):
        return []
    return _useful(recipe, [{"optim.l1": _two_digits(min(0.1, 10 * penalty or 1e-4), 2)}])


def dropout(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """More dropout: 0.3, or 0.2 more.

    Use: overfitting
    Weakness: training takes longer; little with batch normalisation
    Source: Srivastava et al. 2014, JMLR 15
    """
    rate = recipe.get("model.dropout")
    if not isinstance(rate, int | float) or rate > 0.5:
        return []
    return [{"model.dropout": _two_digits(rate + 0.2, 2) if rate else 0.3}]


def label_smoothing(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Smooth the labels by 0.1.

    Use: overfitting; wrong labels
    Weakness: probabilities become too cautious
    Source: Szegedy et al. 2016, CVPR
    """
    if recipe.get("loss.label_smoothing") != 0:
        return []
    return [{"loss.label_smoothing": 0.1}]


def less_regularisation(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Switch dropout, weight decay and L1 off, all together.

    Use: underfitting
    Weakness: overfits where the data are few
    Source: Geman, Bienenstock and Doursat 1992
    """
    names = ("model.dropout", "optim.weight_decay", "optim.l1", "loss.label_smoothing")
    # The default decay of 5e-4 is too small to hold anything back.
    strong = [n for n in names if _total(recipe.get(n)) > (1e-3 if n.startswith("optim") else 0)]
    return [dict.fromkeys(strong, 0.0)] if strong else []


def more_epochs(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Twice the epochs; four times where learning had only begun.

    Use: stopped_too_early, underfitting
    Weakness: twice the time
    Source: Prechelt 1998, Early stopping, but when?
    """
    epochs: Any = recipe.get("train.epochs")
    if not _is_count(epochs):
        return []
    begun = (finding.evidence.get("half_of_the_fall_at") or 0) >= 0.35
    factors = (4, 2) if finding.name == "stopped_too_early" and begun else (2,)
    return [{"train.epochs": factor * epochs} for factor in factors]


def lr_decay(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Let a constant learning rate fall, along half a cosine.

    Use: stopped_too_early, where the noise of a high rate hides what was learned
    Weakness: the length of training must be known
    Source: Loshchilov and Hutter 2017, ICLR
    """
    return [{"schedule.name": "cosine"}] if recipe.get("schedule.name") == "constant" else []


def patience(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Wait longer before stopping early.

    Use: stopped_too_early, where train.patience ended it
    Weakness: time
    Source: Prechelt 1998, Early stopping, but when?
    """
    waited: Any = recipe.get("train.patience")
    return [{"train.patience": 3 * waited}] if _is_count(waited) else []


def clip_norm(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Clip the gradient to norm 1.

    Use: lr_too_high
    Weakness: hides a rate that is too high rather than mends it
    Source: Pascanu, Mikolov and Bengio 2013, ICML
    """
    if recipe.get("train.clip_norm") != 0 or recipe.get("train.normalise_gradient"):
        return []
    return [{"train.clip_norm": 1.0}]


def warmup(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Raise the rate slowly: over the first 30 % of training.

    Use: lr_too_high
    Weakness: fewer steps at the full rate
    Source: Goyal et al. 2017, arXiv:1706.02677
    """
    share = recipe.get("schedule.warmup")
    return [{"schedule.warmup": 0.3}] if isinstance(share, int | float) and share < 0.3 else []


def pretrained(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Start from the pretrained network that `model.candidate` names, and fine-tune it.

    Use: overfitting, underfitting, or when nothing else is wrong; images
    Weakness: little where the weights come from quite other images; as slow as that network is
    Source: Yosinski et al. 2014, NeurIPS; Howard and Ruder 2018, ACL; Kornblith et al. 2019, CVPR
    """
    if not recipe.get("model.candidate") or recipe.get("model.pretrained"):
        return []
    try:
        return [pretrained_edit(recipe, spec)]
    except FitwellError:
        return []  # of an old run, perhaps: said where an improvement begins


def pretrained_edit(recipe: Recipe, spec: Spec) -> Edit:
    """The network, its weights and the recipe of fine-tuning, as one edit.

    Raises:
        SettingError: no images, or `model.candidate` is neither NAME=WEIGHTS nor a run folder.
    """
    candidate = str(recipe["model.candidate"])
    if spec.kind != "images":
        raise SettingError(
            f"model.candidate = {candidate}: pretrained networks are tried on images, and this is a "
            "table. Leave it out.",
            setting="model.candidate",
        )
    if (Path(candidate).expanduser() / "format").is_file():
        source = store.open_run(candidate, trials=False).recipe or Recipe()
        model, weights = source.section("model"), candidate
    else:
        name, _, weights = candidate.partition("=")
        model = {"name": name, **(defaults("model", name) if name in known()["model"] else {})}
    if not (model.get("name") and weights):
        raise SettingError(
            f"model.candidate = {candidate}: must be NAME=WEIGHTS, such as "
            "torchvision:resnet18=torchvision or torchvision:squeezenet1_0=weights.npz, or a run "
            "folder.",
            setting="model.candidate",
        )
    edit = {f"model.{key}": value for key, value in model.items() if key != "candidate"}
    edit["model.pretrained"] = weights
    edit |= fine_tuning(str(recipe["optim.name"]), str(recipe["loss.name"]), images=True)
    return {name: value for name, value in edit.items() if recipe.get(name) != value}


REMEDIES: dict[str, Guess] = {
    "pretrained": pretrained,
    "higher_lr": higher_lr,
    "slightly_higher_lr": slightly_higher_lr,
    "lower_lr": lower_lr,
    "adam": adam,
    "relu": relu,
    "leaky_units": leaky_units,
    "suited_init": suited_init,
    "batch_norm": batch_norm,
    "wider": wider,
    "narrower": narrower,
    "deeper": deeper,
    "other_family": other_family,
    "weight_decay": weight_decay,
    "l1": l1,
    "dropout": dropout,
    "label_smoothing": label_smoothing,
    "less_regularisation": less_regularisation,
    "more_epochs": more_epochs,
    "lr_decay": lr_decay,
    "patience": patience,
    "clip_norm": clip_norm,
    "warmup": warmup,
}


def _scaled_lr(recipe: Recipe, factors: Sequence[float], breaks_at: float | None) -> list[Edit]:
    """The learning rate times each factor, kept where the optimizer has use for it.

    A rate above a third of where the range test broke is cut down to it.
    """
    rate = recipe.get("optim.lr")
    if not isinstance(rate, int | float) or rate <= 0:
        return []
    low, high = _SGD_RANGE
    if (optimizer := str(recipe.get("optim.name", "sgd"))) != "sgd":
        usual = defaults("optim", optimizer)["lr"]
        low, high = (usual * bound for bound in _ADAPTIVE_RANGE)
    if breaks_at:
        high = min(high, breaks_at / 3)
    edits = []
    for factor in factors:
        # A rate that is already beyond the range may still come back into it.
        bounds = (min(low, rate), max(high, rate))
        new = _two_digits(min(bounds[1], max(bounds[0], rate * factor)), 2)
        edit = {"optim.lr": new}
        if new > 0 and (new / rate >= 1.5 or rate / new >= 1.5) and edit not in edits:
            edits.append(edit)
    return edits


def _useful(recipe: Recipe, edits: Sequence[Edit]) -> list[Edit]:
    """The edits of settings that the recipe has, without what they would leave as it is."""
    kept = []
    for edit in edits:
        changed = {name: v for name, v in edit.items() if name in recipe and recipe[name] != v}
        if changed and changed not in kept:
            kept.append(changed)
    return kept


def _schema(recipe: Recipe, key: str) -> Mapping[str, Any]:
    """The schema of `model.key`; empty for a user's own model."""
    return known()["model"].get(str(recipe.get("model.name")), {}).get(key, {})


def _width(recipe: Recipe) -> tuple[str, Any]:
    """The setting that scales the model's channels, and its value."""
    name = "model.growth" if _schema(recipe, "growth") else "model.width"
    return name, recipe.get(name)


def _is_choice(recipe: Recipe, key: str) -> bool:
    """Whether `model.key` holds one of our own names: a user's builder may mean another thing."""
    return recipe.get(f"model.{key}") in choices(known()["model"]["mlp"].get(key, {}))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _total(value: object) -> float:
    """A number, or the sum of a list of them; 0 for anything else."""
    if isinstance(value, list):
        return sum(_total(item) for item in value)
    return float(value) if isinstance(value, int | float) else 0.0


def _two_digits(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")
