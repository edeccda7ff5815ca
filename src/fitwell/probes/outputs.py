"""The outputs of every module while a model is evaluated, seen and not touched."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from fitwell.nn.modes import evaluating

Note = Callable[[str, nn.Module, object], None]


@contextmanager
def evaluated(model: nn.Module, note: Note) -> Iterator[None]:
    """Within the block the model is in evaluation mode, and each module below it that has run is
    noted: `note(name, module, output)`, in the order in which they end. A block of layers ends after
    its last layer, with the same output.

    Modes are put back and hooks removed afterwards, also after an error.
    """

    def hook_of(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            note(name, module, output)

        return hook

    handles = [
        module.register_forward_hook(hook_of(name))
        for name, module in model.named_modules()
        if module is not model
    ]
    try:
        with evaluating(model):
            yield
    finally:
        for handle in handles:
            handle.remove()


def is_pooling(module: nn.Module) -> bool:
    """Whether the module is one of torch's pooling layers, or of a class made from one."""
    return any(cls.__module__ == nn.modules.pooling.__name__ for cls in type(module).__mro__)
