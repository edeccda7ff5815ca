"""`model.pretrained`: where trained weights come from, and how their inputs were normalised.

A source is a file of weights, a fitwell run folder, or `torchvision`: the default weights that
torchvision has for that network. Those are downloaded once into fitwell's cache, and the sha256
that stands in each file's name is compared.
"""

import re
import urllib.error
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from fitwell import store
from fitwell.caching import cache_folder
from fitwell.data.download import offline
from fitwell.data.preprocess import Moments, Preprocess, unit_of
from fitwell.data.types import Data
from fitwell.errors import DataError, SettingError
from fitwell.record import Run
from fitwell.spec import Spec
from fitwell.weights.files import RUN_WEIGHTS, read_weights
from fitwell.weights.fitting import Fitted, fit_weights

SETTING = "model.pretrained"
TORCHVISION = "torchvision"
# What torchvision's ImageNet weights were trained with: a channel of RGB from 0 to 1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The Inception networks read colours from -1 to 1 instead.
INCEPTIONS = ("googlenet", "inception", "inception_v3")
HALF = (0.5, 0.5, 0.5)
# Our families whose parameters torchvision names alike: its name, from our settings.
FAMILIES = {
    "alexnet": "alexnet",
    "googlenet": "googlenet",
    "inception": "googlenet",
    "vgg": "vgg{depth}",
    "resnet": "resnet{depth}",
    "densenet": "densenet{depth}",
}
# What their layers have in torchvision, whatever the size of the images.
LIKE_THEIRS = {"stem": "large", "version": "torchvision"}


def load_pretrained(model: nn.Module, name: str, settings: Mapping[str, Any], spec: Spec) -> Fitted:
    """Load the weights that `settings["pretrained"]` names into a model of the recipe.

    Args:
        name: the model's name in the recipe.
        settings: `model.*` without the prefix.
        spec: of the data at hand. Where the source is a run on other classes, its head is not taken
            over, even if it has as many outputs: it would start sure of the wrong answers.

    Raises:
        DataError: the weights cannot be read, or are not of this model.
        SettingError: torchvision has no such network, or downloads are forbidden.
    """
    source = str(settings["pretrained"])
    if source == TORCHVISION:
        path = torchvision_file(torchvision_name(network_of(name, settings), settings))
        source, tensors, other = path.name, read_weights(path), False
    else:
        tensors, run = read_weights(source, setting=SETTING), run_of(source)
        known = run.spec if run is not None else None
        other = known is not None and (known.classes, known.targets) != (spec.classes, spec.targets)
    try:
        return fit_weights(model, tensors, new_head=other, source=source, setting=SETTING)
    except DataError as error:
        unlike = [f"model.{k}={v}" for k, v in LIKE_THEIRS.items() if settings.get(k, v) != v]
        if not unlike:
            raise
        raise DataError(
            f"{error.message} torchvision's network has {' and '.join(unlike)}.",
            setting=error.setting,
            where=error.where,
        ) from None


def moments(source: str, data: Data, rows: np.ndarray, *, model: str) -> Moments:
    """Mean and scale a channel, in the unit of `data`, that the weights' inputs had.

    Of a fitwell run its own; of every other file those of ImageNet, which nearly all published
    weights of image networks share: all but Inception's. Grey images take the mean over the three
    channels. Brightness may be from 0 to 255 there and from 0 to 1 here, or the other way round.

    Args:
        model: the name of the network whose weights they are, see `network_of`.

    Raises:
        SettingError: no images, another number of channels, or values of another range.
    """
    if data.spec.kind not in ("images", "boxes"):
        raise _unsuited(f"is for images, and these are {data.spec.examples}")
    channels = data.spec.input_shape[0]
    run = run_of(source)
    if run is not None:
        assert run.folder is not None
        path = run.folder / "preprocess" / "preprocess.json"
        with store.reading(path):
            known = Preprocess.from_json(store.read_json(path))
        mean, scale, unit = known.mean, known.scale, known.unit
    else:
        own = model.removeprefix(f"{TORCHVISION}:")
        # torchvision's own go from ImageNet's normalisation to -1 to 1 by themselves, in colour.
        halves = own in INCEPTIONS and (own == model or channels == 1)
        mean, scale = (HALF, HALF) if halves else (IMAGENET_MEAN, IMAGENET_STD)
        unit = 1.0
    here = unit_of(data.inputs, rows)
    if unit is not None and unit != here:
        if not (unit and here):
            raise _unsuited(f"knows images {_range(unit)}, and these are {_range(here)}")
        mean, scale = (tuple(v * here / unit for v in values) for values in (mean, scale))
    if channels == 1 and len(mean) == 3:
        mean, scale = (float(np.mean(mean)),), (float(np.mean(scale)),)
    if channels != len(mean):
        raise _unsuited(f"is for {len(mean)} channels, and these images have {channels}")
    return mean, scale


def _range(unit: float) -> str:
    ranges = {255.0: "from 0 to 255 in whole numbers", 1.0: "from 0 to 1"}
    return ranges.get(unit, "of another range")


def _unsuited(why: str) -> SettingError:
    return SettingError(
        f"data.normalise = pretrained {why}. Set data.normalise=train.", setting="data.normalise"
    )


def run_of(source: str) -> Run | None:
    """The run whose folder, or whose weights in it, `source` names; None for anything else."""
    path = Path(source).expanduser()
    folder = path.parent if path.name == RUN_WEIGHTS else path
    if source == TORCHVISION or not (folder / "format").is_file():
        return None
    return store.open_run(folder, trials=False)


def poor_source(source: str, spec: Spec) -> str:
    """Why the source is not clearly richer than the data at hand; empty where it is, or unknown.

    Features are worth taking over from more examples of more kinds; from fewer they mostly cost.
    """
    run = run_of(source)
    if run is None or run.spec is None:
        return ""
    there, here = run.spec, spec
    poor = [
        f"{known} {what} there, {own} here"
        for what, known, own in (
            ("examples", there.num_examples, here.num_examples),
            ("classes", len(there.classes), len(here.classes)),
        )
        if known < own
    ]
    if not poor:
        return ""
    return (
        f"{SETTING} = {source}: the source is not clearly richer than this data "
        f"({'; '.join(poor)}), so its weights may not help. Compare with a run that leaves {SETTING} out."
    )


def network_of(name: str, settings: Mapping[str, Any]) -> str:
    """The name of the network that weights are of: the model's own, or that of a borrowed backbone.

    >>> network_of("yolo", {"backbone": "torchvision:resnet18"}), network_of("yolo", {"backbone": "csp"})
    ('torchvision:resnet18', 'yolo')
    """
    backbone = str(settings.get("backbone", ""))
    return backbone if backbone.startswith(f"{TORCHVISION}:") else name


def torchvision_name(name: str, settings: Mapping[str, Any]) -> str:
    """What torchvision calls the network of a recipe.

    Raises:
        SettingError: it has none like it.

    >>> torchvision_name("resnet", {"depth": 18}), torchvision_name("torchvision:vgg11", {})
    ('resnet18', 'vgg11')
    """
    from torchvision import models

    own = name.removeprefix(f"{TORCHVISION}:")
    if own == name:
        own = FAMILIES.get(name, "").format_map(settings)
    if name == "vgg" and settings.get("norm") == "batch":
        own += "_bn"
    if name == "vit":
        size = {12: "b", 24: "l"}.get(settings.get("depth", 0), "")
        own = f"vit_{size}_{settings.get('patch')}"
    if own not in models.list_models(module=models):
        raise SettingError(
            f"{SETTING} = {TORCHVISION}: torchvision has no weights for model.name={name} with "
            f"these settings. It has them for {', '.join(FAMILIES)} and vit in their published "
            "sizes, and for every torchvision:NAME, of yolo as model.backbone.",
            setting=SETTING,
        )
    return own


def torchvision_file(name: str) -> Path:
    """The file with torchvision's default weights of a network, downloaded once and checked.

    Raises:
        SettingError: not in the cache and no download allowed, or it failed.
    """
    from torch.hub import download_url_to_file
    from torchvision.models import get_model_weights

    url = str(get_model_weights(name).DEFAULT.url)  # type: ignore[attr-defined]
    path = cache_folder() / "weights" / url.rpartition("/")[2]
    if path.is_file():
        return path
    otherwise = f"Put that file into {path.parent}, or set {SETTING} to a file of weights."
    if offline():
        raise SettingError(
            f"{SETTING} = {TORCHVISION}: {path.name} is not in the cache, and FITWELL_OFFLINE=1 "
            f"forbids downloads. {otherwise}",
            setting=SETTING,
        )
    checksum = re.search(r"-([0-9a-f]{8,})\.pth$", path.name)
    if checksum is None:
        raise SettingError(
            f"{SETTING} = {TORCHVISION}: {path.name} comes without a checksum. {otherwise}",
            setting=SETTING,
        )
    try:
        with store.saying_no_space(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        # Into a temporary file first: a download that is cut off leaves nothing.
        download_url_to_file(url, str(path), hash_prefix=checksum[1], progress=False)
    except (OSError, RuntimeError, urllib.error.URLError) as error:
        raise SettingError(
            f"{SETTING} = {TORCHVISION}: {url} could not be downloaded ({error}). {otherwise}",
            setting=SETTING,
        ) from None
    return path
