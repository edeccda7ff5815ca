"""Ways of drawing the first weights, by name; each works on a whole model, in place.

Weights are parameters of two or more dimensions outside normalisation layers, learned tokens and
positions left out; every other way than `default` sets the biases to zero. n_in and n_out count the
numbers that go into and come out of a unit, receptive field included. Random numbers come from
torch's global generator.
"""

import math
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from fitwell.errors import SettingError, did_you_mean

# Standard deviation of a standard normal number that is cut off at two standard deviations.
_CUT_NORMAL_STD = 0.8796256610342398
# What a parameter is called that no input is multiplied by, however many dimensions it has.
_ADDED = ("bias", "token", "pos_embed")


def default(model: nn.Module) -> None:
    """PyTorch's own: uniform weights and biases that depend on n_in alone.

    Formula: U(-1/sqrt(n_in), 1/sqrt(n_in)), which is a variance of 1/(3 n_in)
    Use: shallow networks, and wherever results should compare with other people's
    Weakness: too small for deep networks without normalisation, where signals and gradients fade
    Source: LeCun, Bottou, Orr and Mueller 1998, Efficient BackProp, as PyTorch has it

    >>> default(nn.Linear(3, 2))
    """


def xavier_normal(model: nn.Module) -> None:
    """Normal weights that keep the variance of signals and of gradients alike.

    Formula: N(0, 2/(n_in + n_out)), the second argument being the variance
    Use: tanh and sigmoid networks
    Weakness: half the variance that ReLU needs, which fades in deep networks
    Source: Glorot and Bengio 2010, AISTATS

    >>> xavier_normal(nn.Linear(3, 2))
    """
    _draw(model, nn.init.xavier_normal_)


def xavier_uniform(model: nn.Module) -> None:
    """Uniform weights that keep the variance of signals and of gradients alike.

    Formula: U(-a, a) with a = sqrt(6/(n_in + n_out))
    Use: tanh and sigmoid networks; LeNet
    Weakness: half the variance that ReLU needs, which fades in deep networks
    Source: Glorot and Bengio 2010, AISTATS, equation 16

    >>> layer = nn.Linear(3, 3)
    >>> xavier_uniform(layer)
    >>> bool(layer.weight.abs().max() <= 1), layer.bias.tolist()
    (True, [0.0, 0.0, 0.0])
    """
    _draw(model, nn.init.xavier_uniform_)


def he(model: nn.Module) -> None:
    """Normal weights that keep the variance of signals through ReLU.

    Formula: N(0, 2/n_in), the second argument being the variance
    Use: ReLU and its relatives, above all in deep networks
    Weakness: twice too much for tanh and sigmoid, which then start saturated
    Source: He, Zhang, Ren and Sun 2015, ICCV, equation 10

    >>> he(nn.Linear(3, 2))
    """
    _draw(model, lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"))


def orthogonal(model: nn.Module) -> None:
    """Weights that turn vectors without stretching them.

    Formula: W W^T = 1 (rows of a layer that narrows), from the QR decomposition of a normal matrix
    Use: recurrent and very deep networks
    Weakness: costs a decomposition a layer; half the variance that ReLU needs
    Source: Saxe, McClelland and Ganguli 2014, ICLR

    >>> layer = nn.Linear(3, 2)
    >>> orthogonal(layer)
    >>> torch.allclose(layer.weight @ layer.weight.T, torch.eye(2), atol=1e-6)
    True
    """
    _draw(model, nn.init.orthogonal_)


def truncated_normal(model: nn.Module) -> None:
    """Normal weights without tails: redrawn beyond two standard deviations.

    Formula: N(0, 1/n_in), cut at two standard deviations and rescaled to that variance
    Use: SELU networks; wherever single large weights disturb the start
    Weakness: half the variance that ReLU needs
    Source: LeCun et al. 1998, Efficient BackProp; Klambauer et al. 2017 for SELU

    >>> truncated_normal(nn.Linear(3, 2))
    """

    def draw(weight: Tensor) -> None:
        n_in = weight[0].numel()
        std = 1 / math.sqrt(n_in) / _CUT_NORMAL_STD
        nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)

    _draw(model, draw)


def zeros(model: nn.Module) -> None:
    """All weights zero, to show what symmetry does.

    Formula: w = 0
    Use: a linear model; demonstrations
    Weakness: all units of a layer stay equal; behind ReLU nothing but the last bias learns
    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, section 8.4

    >>> layer = nn.Linear(2, 1)
    >>> zeros(layer)
    >>> layer.weight.tolist()
    [[0.0, 0.0]]
    """
    _draw(model, nn.init.zeros_)


def ones(model: nn.Module) -> None:
    """All weights one, to show what symmetry does.

    Formula: w = 1
    Use: demonstrations
    Weakness: all units of a layer compute and learn the same, and signals grow n_in times a layer
    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, section 8.4

    >>> layer = nn.Linear(2, 1)
    >>> ones(layer)
    >>> layer.weight.tolist()
    [[1.0, 1.0]]
    """
    _draw(model, nn.init.ones_)


def constant(model: nn.Module) -> None:
    """All weights 0.1, to show what symmetry does.

    Formula: w = 0.1
    Use: demonstrations: training goes on, but a layer stays one unit, until dropout parts its units
    Weakness: all units of a layer compute and learn the same
    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, section 8.4

    >>> layer = nn.Linear(2, 1)
    >>> constant(layer)
    >>> [round(w, 1) for w in layer.weight[0].tolist()]
    [0.1, 0.1]
    """
    _draw(model, lambda w: nn.init.constant_(w, 0.1))


INITS: dict[str, Callable[[nn.Module], None]] = {
    "default": default,
    "xavier_normal": xavier_normal,
    "xavier_uniform": xavier_uniform,
    "he": he,
    "orthogonal": orthogonal,
    "truncated_normal": truncated_normal,
    "zeros": zeros,
    "ones": ones,
    "constant": constant,
}


def draw_weights(model: nn.Module, init: str | list[str]) -> None:
    """Draw the weights of a model in the way that is named, or by rules: later ones win.

    A rule is `pattern=name`: what the modules that fit the pattern (`*`, `?`, `[abc]`, as in file
    names) hold, and all below them, is drawn so.

    Args:
        init: a name of the table; or a list of one for the whole model, and of rules.

    Raises:
        SettingError: no such name, or a pattern that fits no module with parameters.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    >>> draw_weights(model, ["he", "1=zeros"])
    >>> bool(model[0].weight.any()), bool(model[1].weight.any())
    (True, False)
    """
    first, rules = _parsed(init)
    # `default` of a rule is what the layer was built with, and not what an earlier rule drew.
    built = {name: p.detach().clone() for name, p in model.named_parameters()} if rules else {}
    INITS[first](model)
    held = {n: m for n, m in model.named_modules() if n and any(True for _ in m.parameters())}
    for pattern, name in rules:
        fitting = [n for n in held if fnmatchcase(n, pattern)]
        if not fitting:
            raise SettingError(
                f"model.init: {pattern!r} fits no module. There are: {', '.join(held)}.",
                setting="model.init",
            )
        for module in fitting:
            if any(module.startswith(f"{above}.") for above in fitting):
                continue  # drawn with what holds it
            if name == "default":
                _restore(model, module, built)
            else:
                INITS[name](held[module])


def init_of(module: str, init: str | list[str]) -> str:
    """The way in which `draw_weights` draws the module of this name.

    >>> init_of("block1.conv", ["he", "block*=orthogonal", "head=zeros"])
    'orthogonal'
    """
    first, rules = _parsed(init)
    path = module.split(".")
    chain = [".".join(path[:i]) for i in range(1, len(path) + 1)]  # it, and what holds it
    fitting = [how for rule, how in rules if any(fnmatchcase(n, rule) for n in chain)]
    return fitting[-1] if fitting else first


def _parsed(init: str | list[str]) -> tuple[str, list[tuple[str, str]]]:
    """(name for all, [(pattern, name)])."""
    first, *others = [init] if isinstance(init, str) else init or [""]
    rules = []
    for rule in others:
        pattern, _, name = rule.rpartition("=")
        rules.append((pattern, name))
    for pattern, name in [("*", first), *rules]:
        if name not in INITS or not pattern:
            raise SettingError(
                f"model.init = {init}: {name!r} is no way to draw weights.{did_you_mean(name, INITS)} "
                f"Give one of {', '.join(INITS)}, or a list of one for all and of rules "
                "pattern=name.",
                setting="model.init",
            )
    return first, rules


@torch.no_grad()
def _restore(model: nn.Module, module: str, built: dict[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        if name.startswith(f"{module}."):
            parameter.copy_(built[name])


def is_norm(module: nn.Module) -> bool:
    """Whether the module normalises; told by its class's name, so that others' are known too."""
    return "norm" in type(module).__name__.lower()


def named_weights(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, bool]]:
    """Each parameter once, as (name, parameter, whether it is a weight).

    A weight has two or more dimensions, is no bias and lies outside normalisation layers: what is
    initialised by rule and what is decayed. Learned tokens and positions (a transformer's
    `class_token`, `pos_embedding`) are summed with signals and not multiplied: they have no n_in, and
    are told by their names, as biases are.
    """
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        norm = is_norm(module)
        for own, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            name = f"{prefix}.{own}" if prefix else own
            lazy = isinstance(parameter, nn.UninitializedParameter)
            added = any(part in own for part in _ADDED)
            weight = not norm and not added and not lazy and parameter.dim() >= 2
            yield name, parameter, weight


@torch.no_grad()
def _draw(model: nn.Module, draw: Callable[[Tensor], object]) -> None:
    for name, parameter, weight in named_weights(model):
        if weight:
            draw(parameter)
        elif "bias" in name.rpartition(".")[2] and parameter.requires_grad:
            nn.init.zeros_(parameter)
