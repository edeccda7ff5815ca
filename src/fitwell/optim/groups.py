"""Which parameters are penalised, and which are not."""

from torch import nn

from fitwell.errors import SettingError
from fitwell.nn.inits import named_weights
from fitwell.optim.shared import Group


def parameter_groups(model: nn.Module, weight_decay: float) -> list[Group]:
    """What is trained, in two groups: weights with decay; biases, norms and slopes without.

    Each group also has `names` (the parameters' names, in the order of `params`) and `penalised`.
    A parameter that is shared is in it once; one without `requires_grad` not at all.

    Raises:
        SettingError: the model has nothing to train.

    >>> groups = parameter_groups(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), 0.01)
    >>> [(g["names"], g["weight_decay"]) for g in groups]
    [(['0.weight'], 0.01), (['0.bias', '1.weight', '1.bias'], 0.0)]
    """
    trained = [entry for entry in named_weights(model) if entry[1].requires_grad]
    if not trained:
        raise SettingError(
            "model.name: the model has no parameter to train (none, or all frozen).",
            setting="model.name",
        )
    groups: list[Group] = []
    for penalised in (True, False):
        members = [(name, p) for name, p, weight in trained if weight == penalised]
        if members:
            groups.append(
                {
                    "params": [p for _, p in members],
                    "names": [name for name, _ in members],
                    "penalised": penalised,
                    "weight_decay": weight_decay if penalised else 0.0,
                }
            )
    return groups
