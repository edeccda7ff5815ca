"""What `augment.policy` stands for: changes that keep the meaning of the data at hand. No torch.

Little is known of images: their size, the number of their channels, and the names of the classes.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

from fitwell.spec import Spec

Policy: TypeAlias = Literal["none", "light", "strong"]
POLICIES: tuple[str, ...] = get_args(Policy)  # the stronger, the later
SETTING = "augment.policy"
SMALL = 64  # pixels of the longer side: up to here an object fills the picture, as in CIFAR

_WORDS = "zero one two three four five six seven eight nine".split()


def policy(name: str, spec: Spec) -> dict[str, Any]:
    """The settings `augment.*` that a policy has by default, without those it leaves alone.

    No flips where the classes may be digits or letters (every name is a number, a number's word or a
    single letter), and none where a number is predicted, which may be a place or a direction.

    >>> digits = Spec("images", "classification", (1, 28, 28), classes=("0", "1", "2"))
    >>> policy("light", digits)
    {'augment.translate': 0.08, 'augment.rotate': 8.0, 'augment.scale': [0.9, 1.1]}
    >>> animals = Spec("images", "classification", (3, 224, 224), classes=("cat", "dog"))
    >>> policy("light", animals)
    {'augment.hflip': 0.5, 'augment.crop': [0.5, 1.0]}
    >>> policy("none", animals)
    {}
    """
    strong = name == "strong"
    if name != "none" and spec.kind == "text":
        return {"augment.word_drop": 0.3 if strong else 0.1}
    if name != "none" and spec.kind == "audio":
        share = 0.2 if strong else 0.1
        masks = {f"augment.{key}": share for key in ("time_shift", "time_mask", "frequency_mask")}
        return {"augment.noise_snr": [5.0, 30.0] if strong else [20.0, 40.0], **masks}
    if name == "none" or spec.kind not in ("images", "boxes"):
        return {}
    if spec.task == "detection":
        # No turns, since upright boxes around what was turned are too large for it; nothing erased or
        # mixed, which hides much of what the boxes say is there.
        values: dict[str, Any] = {"crop": [0.25 if strong else 0.5, 1.0]}
        if strong:
            values["mosaic"] = 0.5
        if not are_characters(spec.classes):
            values["hflip"] = 0.5
    elif spec.task == "regression":
        values = {"translate": 0.08 if strong else 0.04}
    elif are_characters(spec.classes):
        values = {"translate": 0.08, "rotate": 8.0, "scale": [0.9, 1.1]}
        if strong:
            values |= {"translate": 0.12, "rotate": 15.0, "scale": [0.8, 1.2], "shear": 10.0}
    elif max(spec.input_shape[1:]) <= SMALL:
        values = {"hflip": 0.5, "translate": 0.1}
        if strong:
            values |= {"translate": 0.125, "rotate": 10.0, "scale": [0.8, 1.25], "erase": 0.25}
    else:
        values = {"hflip": 0.5, "crop": [0.5, 1.0]}
        if strong:
            values |= {"crop": [0.25, 1.0], "rotate": 10.0, "erase": 0.25}
    if strong and spec.input_shape[0] == 3 and not spec.measured:
        values |= {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3}
    if strong and spec.task == "classification":
        values["mixup"] = 0.2
    return {f"augment.{key}": value for key, value in values.items()}


def of_boxes(spec: Spec) -> dict[str, Any]:
    """What pictures with boxes are changed by where no policy is named, since a detector from scratch has
    few of them; empty for other data.

    >>> seen = Spec("boxes", "detection", (1, 320, 320), classes=("cell", "platelet"))
    >>> of_boxes(seen)["augment.mosaic"], of_boxes(Spec("table", "regression", (3,)))
    (0.5, {})
    """
    if spec.task != "detection":
        return {}
    values: dict[str, Any] = {
        "scale": [0.7, 1.4],
        "translate": 0.1,
        "mosaic": 0.5,
        "brightness": 0.2,
        "contrast": 0.2,
    }
    if not are_characters(spec.classes):
        values["hflip"] = 0.5
    if spec.input_shape[0] == 3:
        values["saturation"] = 0.3
    return {f"augment.{key}": value for key, value in values.items()}


def without_old(recipe: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's settings, without what its policy stands for where `settings` name another one.

    >>> recipe = {"augment.policy": "light", "augment.hflip": 0.5, "optim.lr": 0.1}
    >>> without_old(recipe, {"augment.policy": "none"})
    {'optim.lr': 0.1}
    >>> without_old(recipe, {"optim.lr": 0.3}) == recipe
    True
    """
    before = recipe.get(SETTING)
    if settings.get(SETTING, before) == before:
        return dict(recipe)
    return {
        name: value
        for name, value in recipe.items()
        if not name.startswith("augment.") or name == "augment.tta"
    }


def may_mirror(spec: Spec) -> bool:
    """Whether mirror images of these may be expected to be of the same class.

    >>> shoes = Spec("images", "classification", (1, 28, 28), classes=("boot", "sandal"))
    >>> digits = Spec("images", "classification", (1, 28, 28), classes=("0", "1"))
    >>> may_mirror(shoes), may_mirror(digits)
    (True, False)
    """
    labels = spec.kind == "images" and spec.task in ("classification", "multilabel")
    return labels and not are_characters(spec.classes)


def are_characters(classes: tuple[str, ...]) -> bool:
    """Whether the names of the classes may stand for written characters.

    >>> are_characters(("0", "1", "10")), are_characters(("a", "b")), are_characters(("cat", "dog"))
    (True, True, False)
    """
    names = [name.strip().lower() for name in classes]
    return all(name.isdigit() or len(name) == 1 or name in _WORDS for name in names)
