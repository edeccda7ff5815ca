"""Models by name: each entry is a builder `(spec, *, settings) -> nn.Module`.

The module takes [batch, *spec.input_shape] and gives raw outputs [batch, spec.num_outputs].
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from fitwell.errors import SettingError, did_you_mean
from fitwell.models.alexnet import alexnet
from fitwell.models.autoregressive import autoregressive
from fitwell.models.bag_of_words import bag_of_words
from fitwell.models.convnet import convnet
from fitwell.models.csp import csp
from fitwell.models.custom import check_output, load_builder, refuse_untrusted
from fitwell.models.densenet import densenet
from fitwell.models.dlinear import dlinear
from fitwell.models.fcn import fcn
from fitwell.models.forecasters import recursive
from fitwell.models.from_torchvision import PREFIX
from fitwell.models.googlenet import googlenet
from fitwell.models.lenet import lenet
from fitwell.models.linear import linear
from fitwell.models.mlp import mlp
from fitwell.models.nin import nin
from fitwell.models.recurrent import gru, lstm, rnn
from fitwell.models.resnet import resnet
from fitwell.models.resnet1d import resnet1d
from fitwell.models.sequential import sequential
from fitwell.models.tcn import tcn
from fitwell.models.transformer import transformer
from fitwell.models.vgg import vgg
from fitwell.models.vit import vit
from fitwell.models.yolo import yolo
from fitwell.spec import Spec

MODELS: dict[str, Callable[..., nn.Module]] = {
    "linear": linear,
    "mlp": mlp,
    "lenet": lenet,
    "convnet": convnet,
    "alexnet": alexnet,
    "vgg": vgg,
    "nin": nin,
    "googlenet": googlenet,
    "inception": googlenet,  # its modules' name
    "resnet": resnet,
    "densenet": densenet,
    "csp": csp,
    "vit": vit,
    "bag_of_words": bag_of_words,
    "rnn": rnn,
    "lstm": lstm,
    "gru": gru,
    "fcn": fcn,
    "resnet1d": resnet1d,
    "tcn": tcn,
    "transformer": transformer,
    "autoregressive": autoregressive,
    "dlinear": dlinear,
    "yolo": yolo,
    "sequential": sequential,
}


def builder(name: str) -> Callable[..., nn.Module]:
    """The builder of a name in the table, of `torchvision:NAME`, or of `package.module:name`.

    Raises:
        SettingError: no such model, or code that only a run or recipe from elsewhere names.
    """
    if is_own(name):
        refuse_untrusted(name)
    if ":" in name:
        return load_builder(name)
    if name not in MODELS:
        raise SettingError(
            f"model.name: there is no model {name!r}.{did_you_mean(name, MODELS)} Known are "
            f"{', '.join(MODELS)}, torchvision's as torchvision:NAME, and your own as "
            "package.module:name.",
            setting="model.name",
        )
    return MODELS[name]


def is_own(name: str) -> bool:
    """Whether a name is the import path of a user's own model.

    >>> is_own("package.module:Net"), is_own("torchvision:resnet18"), is_own("resnet")
    (True, False, False)
    """
    return ":" in name and not name.startswith(PREFIX)


def build(name: str, spec: Spec, settings: Mapping[str, Any]) -> nn.Module:
    """Build a model; one of the user's own is also tried on two examples.

    Raises:
        SettingError: no such model, a setting that it cannot take, or an output of the wrong shape.

    >>> build("linear", Spec("table", "regression", (2,)), {})[-1]
    Linear(in_features=2, out_features=1, bias=True)
    """
    if spec.at_once:
        return recursive(spec, lambda part: build(name, part, settings))
    model = builder(name)(spec, **settings)
    if is_own(name):  # torchvision's are tried while they are built
        check_output(model, spec, name)
    return model


__all__ = ["MODELS", "build", "builder", "check_output", "is_own", "load_builder"]
