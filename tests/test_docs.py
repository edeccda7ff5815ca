"""The prose names what exists: a name that was moved or renamed turns this red."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import fitwell
from fitwell.settings import known

ROOT = Path(__file__).parents[1]
MODULES = {module.name for module in pkgutil.iter_modules(fitwell.__path__)}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def names(text: str) -> set[str]:
    """Dotted names in code that start with one of fitwell's modules."""
    found = re.findall(r"`(?:fitwell\.)?([a-z_]+(?:\.[A-Za-z_]+)+)(?:\([^`]*\))?`", text)
    others = {
        "html",
        "md",
        "toml",
        "json",
        "py",
        "safetensors",
        "parquet",
        "txt",
        "sh",
        "NAME",
        "yaml",
    }
    return {n for n in found if n.split(".")[0] in MODULES and n.split(".")[-1] not in others}


def exists(name: str) -> bool:
    """Whether `fitwell.<name>` is a module or an attribute of one."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            value = importlib.import_module("fitwell." + ".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
        return True
    return False


def is_setting(name: str) -> bool:
    section, _, setting = name.partition(".")
    entries = known().get(section, {})
    return setting == "name" or any(setting in (key, *entry) for key, entry in entries.items())


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_names_in_prose_exist(page: Path) -> None:
    found = names(page.read_text(encoding="utf-8"))
    missing = [name for name in sorted(found) if not exists(name) and not is_setting(name)]
    assert not missing


def test_the_walk_names_enough_to_be_held_to() -> None:
    assert len(names((ROOT / "docs" / "walk.md").read_text(encoding="utf-8"))) >= 20
    assert not exists("train.loop.no_such_function") and exists("train.loop.train")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    code = re.compile(r"```.*?```|`[^`]*`|^ *(>>>|\.\.\.)[^\n]*", re.DOTALL | re.MULTILINE)
    prose = code.sub("", text)
    links = re.findall(r"\]\((?!https?:)([^)#]+)", prose)
    assert not [link for link in links if not (page.parent / link).exists()]
