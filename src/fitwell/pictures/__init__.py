"""Pictures that `show` writes: of what a network learned, and of how images are augmented."""

from fitwell.pictures.augmented import write_augmented
from fitwell.pictures.learned import write_pictures

__all__ = ["write_augmented", "write_pictures"]
