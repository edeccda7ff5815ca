"""Read-only measurements of a training: gradients, real updates, dead and saturated units; and of
what a convolution network learned: feature maps, Grad-CAM.

A step is measured as `after - before`, never as `lr * gradient`: for momentum, Adam and weight
decay the two differ by a factor of ten and more. Everything is taken with plain hooks, which are
removed afterwards, so any module can be watched, and the trained weights are the same bits with
and without.
"""

from fitwell.probes.activations import Activations, is_activation
from fitwell.probes.examples import describe_inputs, describe_outputs
from fitwell.probes.feature_maps import feature_maps
from fitwell.probes.gradcam import gradcam
from fitwell.probes.linearity import linearity
from fitwell.probes.mixing import mixing
from fitwell.probes.nonfinite import name_nonfinite
from fitwell.probes.steps import Probes, dense, weight_layers
from fitwell.probes.through_time import in_any_order, reader_of, through_time

__all__ = [
    "Activations",
    "Probes",
    "dense",
    "describe_inputs",
    "describe_outputs",
    "feature_maps",
    "gradcam",
    "in_any_order",
    "is_activation",
    "linearity",
    "mixing",
    "name_nonfinite",
    "reader_of",
    "through_time",
    "weight_layers",
]
