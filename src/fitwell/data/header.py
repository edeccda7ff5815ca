"""Whether the first line of a table names its columns, or is an example like the others. No torch."""

from collections.abc import Sequence

from fitwell.data.names import PART_NAMES, TARGET_NAMES
from fitwell.settings import is_number

MOSTLY = 0.9  # of the cells of a column: numbers, and then what stands above them is its name
# Names that no example is likely to hold as a whole cell.
USUAL_NAMES = {
    *TARGET_NAMES,
    *PART_NAMES,
    *"text category review sentence comment message document title sentiment".split(),
    *"file filename path image group id name".split(),
}


def is_header(first: Sequence[str], below: Sequence[Sequence[str]], *, comma: bool = False) -> bool:
    """Whether the first line is a header.

    It is none if one of its cells is a number. It is one if a cell of text stands above numbers, or has one
    of the usual names. Otherwise, among the columns whose values repeat further down, those count whose
    first cell is one of these values: if they are half of them or more, the first line is an example.

    Args:
        first: its cells.
        below: the cells of the lines after it.
        comma: whether numbers may have a decimal comma.

    >>> is_header(["great film", "pos"], [["dull", "neg"], ["warm", "pos"], ["long", "neg"]])
    False
    >>> is_header(["text", "pos"], [["dull", "neg"], ["warm", "pos"], ["long", "neg"]])
    True
    """

    def number(cell: str) -> bool:
        return is_number(cell.replace(",", ".") if comma else cell)

    if any(number(cell) for cell in first):
        return False
    if any(cell.strip().lower() in USUAL_NAMES for cell in first):
        return True
    repeating = again = 0
    for i, name in enumerate(first):
        cells = [row[i].strip() for row in below if i < len(row) and row[i].strip()]
        if not name.strip() or not cells:
            continue
        if sum(map(number, cells)) >= MOSTLY * len(cells):
            return True
        found = name.strip() in cells
        repeating += found or 2 * len(set(cells)) <= len(cells)
        again += found
    return not again or 2 * again < repeating
