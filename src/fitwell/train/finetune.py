"""Fine-tuning: which layers are trained in which epoch, and how fast.

Both go by a layer's depth: 0 for the first layer that has weights, 1 for the last, the head, in the
order in which the model defines them. Normalisations, biases and other small parameters belong to
the layer before them. So one number suits networks of three layers and of three hundred. A detector's
head is all that stands behind its backbone.
"""

from dataclasses import dataclass

from torch import nn

from fitwell.nn.inits import is_norm, named_weights
from fitwell.optim.shared import Group

RATE = "rate"  # of a parameter group: its learning rate as a share of the recipe's


def depths(model: nn.Module) -> dict[str, float]:
    """The depth of each module by name, containers included: from 0, the input, to 1, the head.

    >>> depths(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Linear(2, 1)))
    {'': 0.0, '0': 0.0, '1': 0.0, '2': 0.5, '3': 1.0}
    """
    layers = list(
        dict.fromkeys(n.rpartition(".")[0] for n, _, weight in named_weights(model) if weight)
    )
    backbone = getattr(model, "backbone_prefixes", ("",))[0]
    if backbone:
        layers = [name for name in layers if name.startswith(backbone)]
        layers.append(
            next(n for n, _ in model.named_modules() if n and not f"{n}.".startswith(backbone))
        )
    last = max(1, len(layers) - 1)
    found, reached = {}, 0
    for name, _ in model.named_modules():
        if name in layers:
            reached = layers.index(name)
        found[name] = reached / last if len(layers) > 1 else 1.0
    return found


def with_rates(
    groups: list[Group], model: nn.Module, first_lr: float, backbone_lr: float = 1.0
) -> list[Group]:
    """The groups, parted by depth: each part has its share of the learning rate.

    The share falls geometrically from 1 at the head to `first_lr` at the first layer. Every step
    towards the input is thus the same factor, as in Howard and Ruder 2018 (ULMFiT), section 3.2.
    Before the head it is `backbone_lr` times that, as two rates are usual in fine-tuning.
    """
    if first_lr == backbone_lr == 1:
        return groups
    depth = depths(model)
    parted = []
    for group in groups:
        by_rate: dict[float, list[int]] = {}
        for i, name in enumerate(group["names"]):
            at = depth[name.rpartition(".")[0]]
            rate = first_lr ** (1 - at) * (backbone_lr if at < 1 else 1.0)
            by_rate.setdefault(rate, []).append(i)
        parted += [
            {
                **group,
                "params": [group["params"][i] for i in members],
                "names": [group["names"][i] for i in members],
                RATE: rate,
            }
            for rate, members in by_rate.items()
        ]
    return parted


@dataclass(frozen=True)
class Freezing:
    """Which layers stand still, epoch by epoch.

    A layer that stands still gets no gradient, and its batch normalisation uses the statistics it
    has and does not update them.

    Args:
        layers: (module, its depth, its own parameters that can be trained at all).
        share: layers below this depth are never trained.
        thaw_epochs: over so many epochs the others are added to the head, from above.
    """

    layers: tuple[tuple[nn.Module, float, tuple[nn.Parameter, ...]], ...]
    share: float
    thaw_epochs: int

    @classmethod
    def of(cls, model: nn.Module, share: float, thaw_epochs: int) -> "Freezing":
        depth = depths(model)
        return cls(
            tuple(
                (m, depth[n], tuple(p for p in m.parameters(recurse=False) if p.requires_grad))
                for n, m in model.named_modules()
            ),
            share,
            thaw_epochs,
        )

    def start_epoch(self, epoch: int) -> None:
        """Let stand still what is not trained in this epoch, and nothing else.

        The model is in training mode; of a parameter that several layers share the deepest decides.
        """
        thawed = min(1.0, epoch / self.thaw_epochs) if self.thaw_epochs else 1.0
        border = 1 - (1 - self.share) * thawed - 1e-9  # thirds are not exact
        for module, depth, parameters in self.layers:
            for parameter in parameters:
                parameter.requires_grad_(depth >= border)
            if depth < border and is_norm(module):
                module.eval()
