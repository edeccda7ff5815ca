"""A batch of images, and its layout in memory."""

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Images: TypeAlias = Float[Tensor, "batch channel height width"]


def laid_out_as(images: Images, other: Images) -> Images:
    """The images in the memory layout of others: contiguous, or channels last.

    >>> last = torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last)
    >>> laid_out_as(torch.zeros(2, 3, 4, 4), last).is_contiguous(memory_format=torch.channels_last)
    True
    """
    last = other.is_contiguous(memory_format=torch.channels_last)
    return images.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
