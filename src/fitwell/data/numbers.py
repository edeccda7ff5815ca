"""Numbers from Python: what comes in as an array of any library. Torch is known by duck."""

from typing import Any

import numpy as np


def to_numpy(values: Any) -> np.ndarray:
    """A numpy array of numpy, torch, pandas, polars or plain lists."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":
            values = values.float()
        return values.numpy()
    if hasattr(values, "to_numpy"):
        return np.asarray(values.to_numpy())
    return np.asarray(values)
