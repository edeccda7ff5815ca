"""The table of remedies: each entry gives edits of a recipe, the best guess first. No torch.

Only settings that the recipe has, only values that it does not have yet; nothing where it does not
apply.
"""

from fitwell.remedies.boxes import larger_images, mixup, mosaic
from fitwell.remedies.classes import class_weights, focal, robust_loss
from fitwell.remedies.edits import Guess
from fitwell.remedies.network import (
    all_steps,
    batch_norm,
    deeper,
    follow_level,
    gates,
    layer_norm,
    leaky_units,
    long_memory,
    narrower,
    other_family,
    relu,
    suited_init,
    wider,
)
from fitwell.remedies.regularisation import (
    augment,
    dropout,
    l1,
    label_smoothing,
    less_regularisation,
    weight_decay,
)
from fitwell.remedies.training import (
    adam,
    clip_norm,
    ema,
    higher_lr,
    larger_batch,
    lower_lr,
    lr_decay,
    more_epochs,
    patience,
    slightly_higher_lr,
    warmup,
)
from fitwell.remedies.transfer import pretrained

REMEDIES: dict[str, Guess] = {
    "pretrained": pretrained,
    "higher_lr": higher_lr,
    "slightly_higher_lr": slightly_higher_lr,
    "lower_lr": lower_lr,
    "adam": adam,
    "relu": relu,
    "leaky_units": leaky_units,
    "suited_init": suited_init,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "gates": gates,
    "all_steps": all_steps,
    "long_memory": long_memory,
    "wider": wider,
    "narrower": narrower,
    "deeper": deeper,
    "other_family": other_family,
    "follow_level": follow_level,
    "augment": augment,
    "mosaic": mosaic,
    "mixup": mixup,
    "larger_images": larger_images,
    "weight_decay": weight_decay,
    "l1": l1,
    "dropout": dropout,
    "label_smoothing": label_smoothing,
    "less_regularisation": less_regularisation,
    "more_epochs": more_epochs,
    "lr_decay": lr_decay,
    "patience": patience,
    "clip_norm": clip_norm,
    "warmup": warmup,
    "ema": ema,
    "larger_batch": larger_batch,
    "class_weights": class_weights,
    "focal": focal,
    "robust_loss": robust_loss,
}
