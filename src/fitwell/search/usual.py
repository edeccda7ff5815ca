"""What is searched over by default: the few settings that matter most, around the recipe's. No torch."""

from fitwell.policies import POLICIES, policy
from fitwell.recipe import Recipe
from fitwell.spec import Spec

WIDE = 10.0  # the rate is searched so far up and down from the recipe's
HIGHEST_RATE = 100.0  # that an optimizer takes

_OF_STEPS = {"model.width": "32..256:log", "model.dropout": "0..0.5"}
# Of each family, beside the rate, the penalty on weights and the smoothing of labels that all have.
# Widths of networks that have names (ResNet-18, VGG-11) are left alone, and so are depths: they cost
# more than they bring, and belong to the network that the user chose.
FAMILIES: dict[str, dict[str, str]] = {
    "linear": {},
    "mlp": {"model.width": "32..512:log", "model.depth": "1..4", "model.dropout": "0..0.5"},
    "lenet": {"model.width": "4..32:log", "model.dropout": "0..0.5"},
    "convnet": {"model.width": "16..64:log", "model.dropout": "0..0.5"},
    "alexnet": {"model.dropout": "0..0.7"},
    "vgg": {"model.dropout": "0..0.7"},
    "nin": {"model.dropout": "0..0.7"},
    "googlenet": {"model.dropout": "0..0.5"},
    "inception": {"model.dropout": "0..0.5"},
    "resnet": {"model.dropout": "0..0.5", "model.drop_path": "0..0.3"},
    "densenet": {"model.dropout": "0..0.3"},
    "csp": {"model.dropout": "0..0.5"},
    "vit": {"model.dropout": "0..0.3", "model.drop_path": "0..0.3"},
    "bag_of_words": {"model.dropout": "0..0.7"},
    "autoregressive": {"model.subtract": "none,last,mean"},
    "dlinear": {"model.subtract": "none,last,mean", "model.kernel": "5..49:log"},
    **dict.fromkeys(("rnn", "lstm", "gru", "tcn"), _OF_STEPS),
    "fcn": {"model.width": "32..128:log", "model.dropout": "0..0.5"},
    "resnet1d": {"model.dropout": "0..0.5"},
    "transformer": {"model.depth": "1..4", "model.dropout": "0..0.5"},
    "yolo": {"loss.box_weight": "0.5..8:log", "augment.mosaic": "0..1"},
    "sequential": {},
}
# AdamW and Muon take the penalty off the weights themselves, times the rate: it wants larger numbers.
DECOUPLED = ("adamw", "muon")


def usual_space(recipe: Recipe, spec: Spec) -> dict[str, str]:
    """setting -> range or choices, for `space_of`.

    Args:
        recipe: complete; of a user's own model the rate, the penalty, and its `dropout`.
    """
    rate = float(recipe["optim.lr"])
    found = {"optim.lr": f"{rate / WIDE:.3g}..{min(HIGHEST_RATE, rate * WIDE):.3g}:log"}
    if "optim.weight_decay" in recipe:
        decoupled = recipe["optim.name"] in DECOUPLED
        found["optim.weight_decay"] = "1e-3..0.5:log" if decoupled else "1e-6..1e-2:log"
    family = FAMILIES.get(str(recipe["model.name"]), {"model.dropout": "0..0.5"})
    found |= {name: text for name, text in family.items() if name in recipe}
    if "loss.label_smoothing" in recipe:
        found["loss.label_smoothing"] = "0..0.2"
    if policy(POLICIES[-1], spec):
        found["augment.policy"] = ",".join(POLICIES)
    return found
