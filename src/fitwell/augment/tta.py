"""Test-time augmentation: an image is predicted from several views of it."""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from fitwell.augment.images import Images
from fitwell.augment.options import Views

SCALES = (7 / 8, 1.0, 9 / 8)


def tta(model: nn.Module, x: Images, *, tta: Views = "none") -> Tensor:
    """Predict each image from several views of it (test-time augmentation): their mean output.

    Formula: mirror: (f(x) + f(x mirrored)) / 2; scales: the mean of both at 7/8, 1 and 9/8 of the size
    Use: some accuracy more without another training, most of all after fine-tuning
    Weakness: predicting takes 2 or 6 times as long; mirrored digits and letters are others
    Source: Krizhevsky, Sutskever and Hinton 2012, NeurIPS, section 4.1; Simonyan and Zisserman 2015, ICLR,
        section 4.2 (sizes S - 32, S, S + 32 for S = 256)

    Ours differs: outputs are averaged, before any softmax, so numbers that are predicted are, too.

    >>> import torch
    >>> model = nn.Sequential(nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten())
    >>> x = torch.tensor([[[[0.0, 0.0, 4.0, 4.0]]]])
    >>> model(x).tolist(), tta(model, x, tta="mirror").tolist()
    ([[0.0, 4.0]], [[2.0, 2.0]])
    """
    outputs = [model(view).float() for view in _views(x, tta)]
    return sum(outputs[1:], outputs[0]) / len(outputs)


def _views(x: Images, tta: Views) -> Iterator[Images]:
    for scale in SCALES if tta == "scales" else (1.0,):
        size = [max(1, round(side * scale)) for side in x.shape[2:]]
        scaled = x if scale == 1 else F.interpolate(x, size, mode="bilinear", align_corners=False)
        yield scaled
        if tta != "none":
            yield scaled.flip(-1)
