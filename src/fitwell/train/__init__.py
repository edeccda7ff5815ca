"""Training: the loop, its parts, checkpoints and resuming."""

from fitwell.train.fit import load_model, resume, train_once

__all__ = ["load_model", "resume", "train_once"]
