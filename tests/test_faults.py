"""The eleven faulty programs of public collections: the fault is named, the mended program is well."""

import json
from pathlib import Path
from typing import Any

import pytest
from faults.cases import PROGRAMS
from faults.programs import FASHION, Program, run

CASES = Path(__file__).parents[2] / "shared" / "data" / "faults" / "cases.json"
# What the others need is not part of the project.
DRAWN = ("D1-31880720", "R-l1", "R-hinge", "DL-48221692", "DL-48934338")
QUICK = ("D1-31880720", "DL-48221692")


def marked(programs: tuple[Program, ...]) -> list[Any]:
    found: list[Any] = []
    for program in programs:
        marks = [] if program.name in QUICK else [pytest.mark.slow]
        if program.name not in DRAWN:
            absent = not FASHION.exists()
            marks.append(pytest.mark.skipif(absent, reason="Fashion-MNIST is not at hand"))
        found.append(pytest.param(program, id=program.name, marks=marks))
    return found


@pytest.mark.parametrize("program", marked(PROGRAMS))
def test_the_fault_is_among_the_first_two_findings_and_gone_when_mended(program: Program) -> None:
    faulty, score = run(program)
    found = [finding.name for finding in faulty.diagnose(show=False)]
    assert set(found[:2]) & set(program.causes), found
    assert program.mended is not None
    mended, better = run(program.mended)
    assert {f.name for f in mended.diagnose(show=False)} <= {"stopped_too_early"}
    assert better > score


def test_the_programs_are_those_of_the_collection() -> None:
    if not CASES.exists():
        pytest.skip("the published cases are not at hand")
    cases = json.loads(CASES.read_text(encoding="utf-8"))["cases"]
    assert [case["id"] for case in cases] == [program.name for program in PROGRAMS]
