"""The project itself: weight of the install, the lock file, what is where."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
MOST_PACKAGES = 40


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(names: list[str]) -> set[str]:
    """The packages that installing `names` brings on this platform, themselves included."""
    found: set[str] = set()
    waiting = [Requirement(name) for name in names]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        name = plain(wanted.name)
        if (name, frozenset(wanted.extras)) in seen:
            continue
        seen.add((name, frozenset(wanted.extras)))
        found.add(name)
        try:
            listed = requires(name) or []
        except PackageNotFoundError:
            continue
        extras = wanted.extras or {""}
        for text in listed:
            needed = Requirement(text)
            if not needed.marker or any(needed.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(needed)
    return found


def test_the_core_install_is_light() -> None:
    core = closure(project()["project"]["dependencies"])
    torch = closure(["torch", "torchvision"])
    assert {"torch", "numpy", "rich", "markdown-it-py"} <= core  # the closure reaches down
    extra = core - torch
    assert len(extra) <= MOST_PACKAGES, f"{len(extra)} packages: {sorted(extra)}"


def locked() -> dict[str, list[str]]:
    """name -> its lines in the lock file, without hashes."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith((" ", "#")):
            found.setdefault(plain(re.split(r"[=<>~ ;\[]", line)[0]), []).append(line)
    return found


def test_the_lock_holds_every_dependency_with_hashes_and_no_host() -> None:
    table = project()
    wanted = [*table["project"]["dependencies"], *table["dependency-groups"]["dev"]]
    missing = {plain(Requirement(text).name) for text in wanted} - set(locked())
    assert not missing
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text
    assert text.count("--hash=sha256:") > len(locked())


def test_accelerator_wheels_are_for_linux_only() -> None:
    lines = [
        line
        for name, entries in locked().items()
        if name.startswith(("nvidia-", "cuda-", "triton"))
        for line in entries
    ]
    assert lines
    assert all("sys_platform == 'linux'" in line for line in lines)


def test_extras_exist_and_python_is_old_enough() -> None:
    table = project()["project"]
    assert "all" in table["optional-dependencies"]
    assert table["requires-python"] == ">=3.11"
    assert table["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_no_name_of_a_registry_host_is_in_the_project() -> None:
    """Where packages come from is the user's own setting; an index of ours could be taken over."""
    index = re.compile(r"(?:--(?:extra-)?index-url|--find-links|-i)[ =]+https?://(\S+)")
    for name in ("Makefile", "pyproject.toml", "README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for host in index.findall(text):
            assert host.startswith("download.pytorch.org/"), (name, host)


def test_the_page_of_measurements_is_written_from_the_results() -> None:
    from benchmarks.run import PAGE, page

    assert PAGE.read_text(encoding="utf-8") == page(), "run `make bench`, or benchmarks.run.page()"


def test_results_hold_no_paths_of_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import common

    for path in common.RESULTS.glob("*.json"):
        assert '"/' not in path.read_text(encoding="utf-8"), path.name
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    result = common.load("made")
    settings = {"model.pretrained": str(common.DATA / "pretrained" / "a.npz")}
    common.add(result, {"recipe": settings, "verdicts": [{"settings": settings}]})
    assert str(common.DATA) not in (tmp_path / result["file"]).read_text(encoding="utf-8")
    assert result["rows"][0]["recipe"] == {"model.pretrained": "pretrained/a.npz"}


def test_arms_are_alternated_forwards_and_backwards() -> None:
    """What warms the processor for the next arm does so for each of them equally often."""
    from benchmarks import common

    called: list[str] = []
    arms = {name: lambda name=name: called.append(name) or 1.0 for name in "abc"}
    rounds = common.alternated(arms, 3)  # type: ignore[arg-type]
    assert "".join(called) == "abc" + "abc" + "cba" + "abc"
    assert [sorted(row) for row in rounds] == [["a", "b", "c"]] * 3
