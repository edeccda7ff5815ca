"""The network of a file, and its way through torch's exporter. Imports torch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fitwell.errors import SettingError

# What torch says of the usual two obstacles, and what that means.
_PLAINLY = {
    "data-dependent": "its way depends on the values it reads, and a file has one way",
    "Constraints violated": "it makes a fixed number of the batch's size, as len(x) does and x.shape[0] "
    "does not",
}
MOST_BYTES = 2_000_000_000  # one file of ONNX is one message, of 2 GiB at most


class Exported(nn.Module):
    """Inputs as they come, through the model, to what `predict` says."""

    def __init__(self, before: nn.Module, model: nn.Module, behind: nn.Module) -> None:
        super().__init__()
        self.before, self.model, self.behind = before, model, behind

    def forward(self, x: Tensor) -> Any:
        return self.behind(self.model(self.before(x)))


def traced(
    network: nn.Module, fed: np.ndarray, name: str, entry: str, outputs: Mapping[str, Any]
) -> Any:
    """The network as torch's `ONNXProgram`, for batches of any size.

    Args:
        fed: inputs to trace it with, of a batch of two or more.
        name: of the model, for a sentence.
        entry: the name of the input.
        outputs: the names of the outputs.

    Raises:
        SettingError: torch cannot export it.
    """
    from fitwell.export.boxes import translations

    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    if size > MOST_BYTES:
        raise SettingError(
            f"model.name = {name}: has {size / 1e9:.1f} GB of weights, and a file of ONNX holds 2. Its "
            "weights are in the run folder (best.safetensors).",
            setting="model.name",
        )
    batch = torch.export.Dim("batch")
    x = torch.from_numpy(fed)
    try:
        with torch.no_grad():
            program = torch.export.export(network, (x,), dynamic_shapes=({0: batch},), strict=False)
            return torch.onnx.export(
                program,
                dynamo=True,
                input_names=[entry],
                output_names=list(outputs),
                dynamic_shapes=({0: batch},),
                custom_translation_table=translations(),
                verbose=False,
            )
    except Exception as error:  # whatever a network makes the exporter stumble over
        raise SettingError(
            f"model.name = {name}: torch cannot export it to ONNX ({_reason(error)}). Nothing was written; "
            "fw.open(RUN).model is the network as a torch module.",
            setting="model.name",
        ) from error


def _reason(error: BaseException) -> str:
    """What the exporter stumbled over, in one line: its first error had another cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    for found, said in _PLAINLY.items():
        if found in str(error):
            return said
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0] if lines else type(error).__name__
    return said[:160].rstrip(" .:") + (" ..." if len(said) > 160 else "")
