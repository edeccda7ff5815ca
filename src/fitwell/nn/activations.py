"""Activations by name: each entry makes a module, so that probes can see what goes into it."""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from torch import nn

# max(f(a), f(b)) = f(max(a, b)) holds for these, so pooling may go first. GELU, SiLU, Hardswish and
# Mish dip below zero; PReLU may learn a negative slope.
MONOTONE = frozenset({"relu", "sigmoid", "tanh", "leaky_relu", "elu", "selu"})


def relu() -> nn.Module:
    """Rectified linear unit: passes what is positive.

    Formula: max(x, 0); derivative 1 for x > 0, else 0
    Use: the default of hidden layers; cheap, and its gradient does not shrink with depth
    Weakness: a unit that is negative on every example gets no gradient and is dead
    Source: Nair and Hinton 2010, ICML

    >>> import torch
    >>> relu()(torch.tensor([-2.0, 3.0]))
    tensor([0., 3.])
    """
    return nn.ReLU()


def sigmoid() -> nn.Module:
    """Logistic sigmoid: squeezes any number into (0, 1).

    Formula: 1 / (1 + exp(-x)); derivative s (1 - s), at most 1/4
    Use: a probability or a gate; the softmax of two classes with logits x and 0
    Weakness: saturates beyond |x| = 5, and each layer shrinks the gradient at least four times
    Source: Rumelhart, Hinton and Williams 1986, Nature 323

    >>> import torch
    >>> sigmoid()(torch.tensor([0.0, 100.0]))
    tensor([0.5000, 1.0000])
    """
    return nn.Sigmoid()


def tanh() -> nn.Module:
    """Hyperbolic tangent: squeezes any number into (-1, 1), centred at zero.

    Formula: (1 - exp(-2x)) / (1 + exp(-2x)); derivative 1 - tanh(x)^2, at most 1
    Use: recurrent cells and small networks; better centred than sigmoid
    Weakness: saturates beyond |x| = 3, where its derivative is below 1 %
    Source: LeCun, Bottou, Orr and Mueller 1998, Efficient BackProp

    >>> import torch
    >>> tanh()(torch.tensor([0.0, 100.0]))
    tensor([0., 1.])
    """
    return nn.Tanh()


def leaky_relu(
    *,
    slope: Annotated[
        float, Field(gt=0, lt=1, description="derivative on the negative side")
    ] = 0.01,
) -> nn.Module:
    """ReLU with a small positive slope on the negative side.

    Formula: max(x, 0) + slope min(x, 0); derivative 1 for x > 0, else slope
    Use: instead of ReLU where units die, since every unit keeps a gradient
    Weakness: rarely better than ReLU where no units die
    Source: Maas, Hannun and Ng 2013, ICML workshop

    >>> import torch
    >>> leaky_relu()(torch.tensor([-2.0, 3.0]))
    tensor([-0.0200,  3.0000])
    """
    return nn.LeakyReLU(slope)


def gelu() -> nn.Module:
    """Gaussian error linear unit: x weighted by the chance that a normal number is below it.

    Formula: x Phi(x), Phi the normal distribution function; derivative Phi(x) + x phi(x)
    Use: transformers, and deep networks that should be smooth
    Weakness: dearer than ReLU, not monotone, and nearly no gradient below x = -3
    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415

    >>> import torch
    >>> gelu()(torch.tensor([-1.0, 1.0]))
    tensor([-0.1587,  0.8413])
    """
    return nn.GELU()


def silu() -> nn.Module:
    """Sigmoid linear unit, also called swish: x times its own sigmoid.

    Formula: x / (1 + exp(-x)); derivative s + x s (1 - s), s the sigmoid of x
    Use: deep convolution networks and detectors
    Weakness: dearer than ReLU, not monotone, and nearly no gradient below x = -6
    Source: Elfwing, Uchibe and Doya 2018, Neural Networks 107; Ramachandran et al. 2017

    >>> import torch
    >>> silu()(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7311])
    """
    return nn.SiLU()


def elu(
    *,
    alpha: Annotated[
        float, Field(gt=0, le=10, description="how far below zero the outputs reach")
    ] = 1.0,
) -> nn.Module:
    """Exponential linear unit: ReLU that bends smoothly down to -alpha.

    Formula: x for x > 0, else alpha (exp(x) - 1); derivative 1 for x > 0, else alpha exp(x)
    Use: networks without normalisation, as its mean output is nearer to zero than ReLU's
    Weakness: needs an exponential, and saturates on the negative side
    Source: Clevert, Unterthiner and Hochreiter 2016, ICLR

    >>> import torch
    >>> elu()(torch.tensor([-1.0, 1.0]))
    tensor([-0.6321,  1.0000])
    """
    return nn.ELU(alpha)


def selu() -> nn.Module:
    """Scaled ELU: keeps mean 0 and variance 1 from layer to layer.

    Formula: 1.0507 x for x > 0, else 1.0507 * 1.6733 (exp(x) - 1); derivative 1.0507 for x > 0,
        else 1.7581 exp(x)
    Use: deep fully connected networks without normalisation
    Weakness: the promise holds for weights of variance 1/n_in (`truncated_normal`) and no dropout
    Source: Klambauer, Unterthiner, Mayr and Hochreiter 2017, NeurIPS

    >>> import torch
    >>> selu()(torch.tensor([-1.0, 1.0]))
    tensor([-1.1113,  1.0507])
    """
    return nn.SELU()


def prelu(
    *,
    slope: Annotated[
        float, Field(ge=0, lt=1, description="derivative on the negative side that it starts from")
    ] = 0.25,
) -> nn.Module:
    """ReLU whose negative slope is learned, one for the layer.

    Formula: max(x, 0) + a min(x, 0), a learned from slope on; derivative 1 for x > 0, else a
    Use: instead of ReLU where units die and there is data enough to learn the slope
    Weakness: one more parameter a layer, which must not be decayed
    Source: He, Zhang, Ren and Sun 2015, ICCV

    >>> import torch
    >>> prelu()(torch.tensor([-2.0, 3.0])).tolist()
    [-0.5, 3.0]
    """
    return nn.PReLU(init=slope)


def hardswish() -> nn.Module:
    """SiLU made of straight pieces, for small devices.

    Formula: x min(max(x + 3, 0), 6) / 6; derivative 0 for x < -3, (2x + 3) / 6 up to x = 3, then 1
    Use: small networks that must run fast, also in whole numbers
    Weakness: exactly no gradient below x = -3
    Source: Howard et al. 2019, ICCV (MobileNetV3)

    >>> import torch
    >>> hardswish()(torch.tensor([-4.0, 1.0, 4.0]))
    tensor([-0.0000, 0.6667, 4.0000])
    """
    return nn.Hardswish()


def mish() -> nn.Module:
    """Smooth, not monotone relative of SiLU.

    Formula: x tanh(u) with u = log(1 + exp(x)); derivative tanh(u) + x s (1 - tanh(u)^2), s the
        sigmoid of x
    Use: detectors, and deep networks where SiLU is used
    Weakness: the dearest of all, and rarely better than SiLU
    Source: Misra 2020, BMVC

    >>> import torch
    >>> mish()(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8651])
    """
    return nn.Mish()


ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "leaky_relu": leaky_relu,
    "gelu": gelu,
    "silu": silu,
    "elu": elu,
    "selu": selu,
    "prelu": prelu,
    "hardswish": hardswish,
    "mish": mish,
}
