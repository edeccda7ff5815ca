"""fitwell trains a network on your data, says what holds it back, and proves which remedy helps.

    import fitwell as fw
    run = fw.fit("digits", model="lenet", settings={"optim.lr": 0.1})
    better = fw.improve(run, budget="10m")

Nothing heavy is imported until it is used.
"""

import builtins
import random
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fitwell.api.checking import check as check
    from fitwell.api.comparing import compare as compare
    from fitwell.api.exporting import export as export  # type: ignore[no-redef]
    from fitwell.api.judging import diagnose as diagnose
    from fitwell.api.keeping import cache as cache
    from fitwell.api.looking import show as show  # type: ignore[no-redef]
    from fitwell.api.naming import catalog as catalog  # type: ignore[no-redef]
    from fitwell.api.naming import explain as explain
    from fitwell.api.naming import list_kind as list  # noqa: F401 (a public name)
    from fitwell.api.ranging import lr_find as lr_find
    from fitwell.api.results import Improvement as Improvement
    from fitwell.api.results import Run as Run
    from fitwell.api.results import Search as Search
    from fitwell.api.results import open_run as open  # noqa: F401 (a public name)
    from fitwell.api.resuming import resume as resume
    from fitwell.api.searching import search as search  # type: ignore[no-redef]
    from fitwell.api.training import cv as cv
    from fitwell.api.training import fit as fit
    from fitwell.api.training import improve as improve  # type: ignore[no-redef]
    from fitwell.api.using import evaluate as evaluate
    from fitwell.api.using import generate as generate
    from fitwell.api.using import predict as predict  # type: ignore[no-redef]
    from fitwell.errors import FitwellError as FitwellError
    from fitwell.estimators import Classifier as Classifier
    from fitwell.estimators import Regressor as Regressor
    from fitwell.recipe import Recipe as Recipe
    from fitwell.spec import Spec as Spec
    from fitwell.watching import Watch as Watch
    from fitwell.watching import inspect as inspect
    from fitwell.watching import watch as watch
    from fitwell.weights import fit_weights as fit_weights
    from fitwell.weights import load as load
    from fitwell.weights import save as save

__version__ = "0.1.0"

# public name -> (module, name in it)
_PUBLIC = {
    "check": ("fitwell.api.checking", "check"),
    "compare": ("fitwell.api.comparing", "compare"),
    "diagnose": ("fitwell.api.judging", "diagnose"),
    **{n: ("fitwell.api.using", n) for n in "evaluate generate predict".split()},
    "export": ("fitwell.api.exporting", "export"),
    **{n: ("fitwell.api.naming", n) for n in "catalog explain".split()},
    "cache": ("fitwell.api.keeping", "cache"),
    "show": ("fitwell.api.looking", "show"),
    "lr_find": ("fitwell.api.ranging", "lr_find"),
    **{n: ("fitwell.api.results", n) for n in "Improvement Run Search".split()},
    "search": ("fitwell.api.searching", "search"),
    **{n: ("fitwell.api.training", n) for n in "cv fit improve".split()},
    "resume": ("fitwell.api.resuming", "resume"),
    **{n: ("fitwell.weights", n) for n in "fit_weights load save".split()},
    "open": ("fitwell.api.results", "open_run"),
    "list": ("fitwell.api.naming", "list_kind"),
    "Classifier": ("fitwell.estimators", "Classifier"),
    "Regressor": ("fitwell.estimators", "Regressor"),
    "Recipe": ("fitwell.recipe", "Recipe"),
    "Spec": ("fitwell.spec", "Spec"),
    **{n: ("fitwell.watching", n) for n in "Watch inspect watch".split()},
    "FitwellError": ("fitwell.errors", "FitwellError"),
}
__all__ = sorted([*_PUBLIC, "__version__"])


class _Package(ModuleType):
    """The package. `export`, `improve`, `predict`, `search` and `show` are functions of it and modules
    below it: importing such a module must not put the module in the function's place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _PUBLIC and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fitwell' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    numbers = random.getstate()
    try:
        return getattr(import_module(module), attribute)
    finally:
        random.setstate(numbers)  # what is imported at the first use may draw some


def __dir__() -> "builtins.list[str]":
    return [*globals(), *_PUBLIC]


sys.modules[__name__].__class__ = _Package
