"""A user's own model, named by import path: `my_package.nets:tiny`; or torchvision's, by name.

The name is a class of `torch.nn.Module` or a function that gives one. What it may be called with
becomes `model.*` settings: its keyword-only arguments, and others that have a default. An argument
named `spec`, or one positional argument without a default, gets the spec of the data.
"""

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from fitwell.errors import SettingError, did_you_mean
from fitwell.models.from_torchvision import PREFIX, torchvision_builder
from fitwell.models.parts import example_inputs
from fitwell.nn.modes import evaluating
from fitwell.spec import Spec
from fitwell.store import is_trusted

Builder = Callable[..., nn.Module]


def load_builder(path: str) -> Builder:
    """A builder `(spec, *, settings) -> nn.Module` for the import path `package.module:name`.

    `torchvision:NAME` is one of torchvision's networks. The current folder is importable. The
    builder's signature lists the user's settings as keyword-only arguments, typed by annotation or
    by default.

    Raises:
        SettingError: not such a path, cannot be imported, no such name, or no builder of a model.

    >>> builder = load_builder("torch.nn:Identity")
    >>> builder(Spec("table", "regression", (1,)))
    Identity()
    """
    if path.startswith(PREFIX):
        return torchvision_builder(path)
    module_name, colon, name = path.partition(":")
    if not colon or not module_name or not name.isidentifier():
        raise _error(f"{path!r} is no import path. Write package.module:name.")
    module = _import(path, module_name)
    if not hasattr(module, name):
        public = [n for n in vars(module) if not n.startswith("_")]
        raise _error(f"{module_name} has no {name!r}.{did_you_mean(name, public)}")
    target = getattr(module, name)
    if isinstance(target, nn.Module):
        raise _error(
            f"{path} is a model that was built already, and every trial needs a fresh one. "
            "Name its class, or a function that builds it."
        )
    if not callable(target):
        raise _error(f"{path} is a {type(target).__name__}, and not a class or function.")
    if inspect.isclass(target) and not issubclass(target, nn.Module):
        raise _error(f"{path} is a class, but not one of torch.nn.Module.")
    return _wrap(path, target)


def refuse_untrusted(path: str) -> None:
    """Refuse code that only a run or recipe from elsewhere names.

    Raises:
        SettingError: nobody named it on this machine.
    """
    if not is_trusted(path):
        raise _error(
            f"{path} is code, and nobody named it on this machine: the run or recipe comes from "
            "elsewhere, and to build its model is to run that code. If you trust it, name it yourself "
            f"(such as --model {path}), or set FITWELL_TRUST={path} in the environment."
        )


def _import(path: str, module_name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        # Last, so that a user's random.py does not stand in for the standard library's.
        sys.path.append(here)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing and (module_name == missing or module_name.startswith(missing + ".")):
            raise _error(
                f"there is no module {missing!r} for {path}. It is looked for in {here} and among "
                "the installed packages; go to the folder that holds it, or install it."
            ) from None
        raise _error(f"{module_name} needs the module {missing!r}, which is not here.") from error
    except (Exception, SystemExit) as error:
        raise _error(
            f"{module_name} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _wrap(path: str, target: Callable[..., Any]) -> Builder:
    takes_spec, settings = _parameters(path, target)

    def build(spec: Any, **values: Any) -> nn.Module:  # of a layer (sequential): its input's shape
        unknown = [n for n in values if n not in settings]
        if unknown:
            raise SettingError(
                f"model.{unknown[0]}: {path} has no such setting."
                + did_you_mean(unknown[0], settings),
                setting=f"model.{unknown[0]}",
            )
        missing = [n for n, p in settings.items() if p.default is p.empty and n not in values]
        if missing:
            raise SettingError(
                f"model.{missing[0]}: {path} needs it, and it has no default. Set it.",
                setting=f"model.{missing[0]}",
            )
        by_name = {"spec": spec, **values} if takes_spec == "by name" else values
        try:
            model = target(spec, **by_name) if takes_spec == "first" else target(**by_name)
        except SettingError:
            raise
        except Exception as error:
            raise _error(f"{path} failed: {type(error).__name__}: {error}") from error
        if not isinstance(model, nn.Module):
            raise _error(f"{path} gave a {type(model).__name__}, and not a torch.nn.Module.")
        return model

    spec_parameter = inspect.Parameter("spec", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.Signature([spec_parameter, *settings.values()])
    build.__signature__ = signature  # type: ignore[attr-defined]
    build.__name__ = path.partition(":")[2]
    build.__doc__ = inspect.getdoc(target)
    return build


def _parameters(
    path: str, target: Callable[..., Any]
) -> tuple[Literal["no", "first", "by name"], dict[str, inspect.Parameter]]:
    """How the target takes the spec, and its settings as keyword-only parameters."""
    try:
        signature = inspect.signature(target, eval_str=True)
    except NameError:  # annotations that only a type checker can see
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        raise _error(f"{path} does not tell its arguments. Wrap it into a function.") from None
    positional: list[str] = []
    settings: dict[str, inspect.Parameter] = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue  # nothing that could be checked
        if parameter.kind != parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            positional.append(name)
        elif parameter.kind != parameter.POSITIONAL_ONLY:
            settings[name] = _keyword(parameter)
    by_name = settings.pop("spec", None) is not None
    if len(positional) > 1 - by_name:
        raise _error(
            f"{path} needs {', '.join(positional)}; only a first argument without a default can be "
            "filled, with the spec. Give the others defaults: they become settings."
        )
    return "by name" if by_name else "first" if positional else "no", settings


def _keyword(parameter: inspect.Parameter) -> inspect.Parameter:
    annotation = parameter.annotation
    untyped = annotation is parameter.empty or isinstance(annotation, str)
    if untyped:
        known = parameter.default is not parameter.empty and parameter.default is not None
        annotation = type(parameter.default) if known else Any
    return parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=annotation)


@torch.no_grad()
def check_output(model: nn.Module, spec: Spec, name: str) -> None:
    """Run two examples of zeros through, which also gives lazy layers their shapes.

    Raises:
        SettingError: the model fails on the data's shape, or gives not [batch, num_outputs].
    """
    try:
        with evaluating(model):
            output = model(example_inputs(spec, 2))
    except Exception as error:
        raise _error(
            f"{name} fails on an input of shape (2, {', '.join(map(str, spec.input_shape))}): "
            f"{type(error).__name__}: {error}"
        ) from error
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if shape != (2, spec.num_outputs):
        raise _error(
            f"{name} gives {shape} for 2 examples, and {(2, spec.num_outputs)} is needed: one raw "
            "output a class, or one for a number."
        )


def _error(message: str) -> SettingError:
    return SettingError(f"model.name: {message}", setting="model.name")
