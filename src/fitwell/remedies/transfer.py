"""What was learned elsewhere: pretrained weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fitwell import store
from fitwell.errors import FitwellError, SettingError
from fitwell.families import OF_BOXES
from fitwell.options import started
from fitwell.recipe import Recipe
from fitwell.record import Finding
from fitwell.remedies.edits import Edit
from fitwell.settings import defaults, known
from fitwell.spec import Spec


def pretrained(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Start from the pretrained network that `model.candidate` names, and fine-tune it.

    Use: overfitting, underfitting, or when nothing else is wrong; images, and the backbone of a detector
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
    """The network, its weights and the recipe of fine-tuning, as one edit; of a detector its backbone.

    Raises:
        SettingError: no images, or `model.candidate` is neither NAME=WEIGHTS nor a run folder.
    """
    candidate = str(recipe["model.candidate"])
    if spec.kind not in ("images", "boxes"):
        raise SettingError(
            f"model.candidate = {candidate}: pretrained networks are tried on images, and these are "
            f"{spec.examples}. Leave it out.",
            setting="model.candidate",
        )
    if (Path(candidate).expanduser() / "format").is_file():
        source = store.open_run(candidate, trials=False).recipe or Recipe()
        model, weights = source.section("model"), candidate
    else:
        name, _, weights = candidate.partition("=")
        own = defaults("model", name) if name in known()["model"] else {}
        model = {"name": name, **(own if spec.kind == "images" else {})}
    if not (model.get("name") and weights):
        raise SettingError(
            f"model.candidate = {candidate}: must be NAME=WEIGHTS, such as "
            "torchvision:resnet18=torchvision or torchvision:squeezenet1_0=weights.npz, or a run "
            "folder.",
            setting="model.candidate",
        )
    if spec.kind == "boxes":
        model = _as_backbone(candidate, model)
    edit = {f"model.{key}": value for key, value in model.items() if key != "candidate"}
    edit["model.pretrained"] = weights
    limit = int(recipe.get("data.limit", 0))  # type: ignore[call-overload]
    edit |= started(spec, str(recipe["optim.name"]), str(recipe["loss.name"]), limit)
    return {name: value for name, value in edit.items() if recipe.get(name) != value}


def _as_backbone(candidate: str, model: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a detector whose backbone this network is.

    Raises:
        SettingError: it is none.
    """
    name = str(model["name"])
    if name in OF_BOXES:
        return dict(model)
    if name.startswith("torchvision:"):
        return {"backbone": name}
    if name != "csp":
        raise SettingError(
            f"model.candidate = {candidate}: {name} is no backbone of a detector. Name csp, a network of "
            "torchvision's as torchvision:NAME=WEIGHTS, or a run folder of one.",
            setting="model.candidate",
        )
    shared = {key: model[key] for key in ("size", "activation", "norm") if key in model}
    return {"backbone": "csp", **shared}
