"""What is known of the examples of a source beside their inputs. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fitwell.data.types import Problem


@dataclass(frozen=True, eq=False)
class Labelled:
    """Targets, names and parts of examples, as a reader found them.

    Args:
        name: of the data.
        values: [example] raw targets: text, numbers, or class indices where `classes` is given;
            [example, target] numbers, or 0 and 1 for labels.
        keys: names of the examples; by default "row 0", "row 1" ...
        target, targets: what is predicted is called: all of it, and each of several.
        classes: names of the class indices in `values`.
        part: [example] the source's own split; None: it has none.
        groups: [example] any values; equal values stay together.
        times: [example] when each was, float64.
        problems: found so far.
    """

    name: str
    values: np.ndarray
    keys: Sequence[str] | np.ndarray | None = None
    target: str = "target"
    targets: Sequence[str] = ()
    classes: Sequence[str] = ()
    part: np.ndarray | None = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    problems: Sequence[Problem] = ()

    def only(self, kept: np.ndarray, problems: Sequence[Problem] = ()) -> "Labelled":
        """The examples that stay, [example] bool, and what was found beside.

        >>> Labelled("a", np.arange(3), ["x", "y", "z"]).only(np.array([True, False, True])).keys
        ['x', 'z']
        """
        assert self.keys is not None
        return replace(
            self,
            values=np.asarray(self.values)[kept],
            keys=[key for key, stays in zip(self.keys, kept, strict=True) if stays],
            part=None if self.part is None else self.part[kept],
            groups=None if self.groups is None else self.groups[kept],
            times=None if self.times is None else self.times[kept],
            problems=[*self.problems, *problems],
        )
