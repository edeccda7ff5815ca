"""Pairs of what is alike, joined to groups (union-find). No torch."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np


def root(parents: dict[int, int], member: int) -> int:
    """The one that stands for the group of a member; the way to it is made shorter."""
    parents.setdefault(member, member)
    while (above := parents[member]) != member:
        parents[member] = parents[above]
        member = above
    return member


def join(parents: dict[int, int], one: int, other: int) -> None:
    """Make one group of the groups of both."""
    first, second = sorted((root(parents, one), root(parents, other)))
    parents[second] = first


def joined(pairs: Iterable[tuple[int, int]]) -> list[np.ndarray]:
    """Groups, each sorted, in order of their first member: who is paired with one of a group belongs to it.

    >>> [group.tolist() for group in joined([(4, 2), (0, 7), (2, 9)])]
    [[0, 7], [2, 4, 9]]
    """
    parents: dict[int, int] = {}
    for one, other in pairs:
        join(parents, one, other)
    groups: dict[int, list[int]] = defaultdict(list)
    for member in sorted(parents):
        groups[root(parents, member)].append(member)
    return [np.array(members) for members in groups.values()]
