"""What the optimizers share: the types of their settings, and how they take parameters."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

Group: TypeAlias = dict[str, Any]
Groups: TypeAlias = Iterable[Group] | Iterable[Tensor]
Rate: TypeAlias = Annotated[
    float, Field(gt=0, le=100, description="learning rate: the peak of the schedule")
]
Decay: TypeAlias = Annotated[
    float,
    Field(
        ge=0,
        le=10,
        description="lambda of the penalty lambda/2 ||w||^2, on weights only",
        json_schema_extra={
            "formula": "loss + lambda/2 ||w||^2: g + lambda w for g (coupled), or w - lr lambda w "
            "apart from the step (decoupled: adamw, muon)",
            "use": "against overfitting; with model.name=linear and loss.name=mse this is ridge "
            "regression with alpha = n lambda/2",
            "weakness": "too much underfits; adam, nadam and radam divide it by the gradient's scale",
            "source": "Hoerl and Kennard 1970, Technometrics 12; Krogh and Hertz 1992, NeurIPS; "
            "Loshchilov and Hutter 2019, ICLR",
        },
    ),
]
Share: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Momentum: TypeAlias = Annotated[
    Share, Field(description="share of the last step that is kept: the running direction")
]
Beta1: TypeAlias = Annotated[Share, Field(description="memory of the running mean of gradients")]
Beta2: TypeAlias = Annotated[
    Share, Field(description="memory of the running mean of squared gradients")
]
Epsilon: TypeAlias = Annotated[
    float, Field(gt=0, le=1, description="added to the root, against division by nothing")
]

_FUSED_DEVICES = ("cpu", "cuda", "mps", "xpu")


def listed(groups: Groups) -> list[Group]:
    """Copies of the groups, to leave the caller's alone; plain parameters become one group."""
    items = list(groups)
    named = [dict(item) for item in items if isinstance(item, dict)]
    return named or [{"params": items}]


def can_fuse(groups: Iterable[Group], devices: Sequence[str] = _FUSED_DEVICES) -> bool:
    """Whether torch's fused kernels, which exist for `devices`, take all of these parameters."""
    parameters: list[Tensor] = [p for g in groups for p in g["params"]]
    return all(p.device.type in devices and p.is_floating_point() for p in parameters)


def update_of(kind: type[Optimizer]) -> Callable[..., Any]:
    """The published update of one of torch's optimizers, for a subclass that adds to it.

    Without the wrappers, which import the compiler (see `fitwell.train.machine.step_of`).
    """
    return inspect.unwrap(kind.step)
