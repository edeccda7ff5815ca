"""What the tests of reading data share."""

from fitwell.data import Problem


def named(problems: tuple[Problem, ...], name: str) -> Problem:
    """The one problem of that name, which must say where it is and how to mend it."""
    found = [p for p in problems if p.name == name]
    assert len(found) == 1, [p.name for p in problems]
    assert found[0].where
    assert found[0].mend
    return found[0]
