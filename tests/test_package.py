"""The package says of itself what is so: its dependencies, its names, its version."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

import mmg_ray

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_import_is_declared() -> None:
    """A module imported anywhere in the package belongs to a dependency, or to an extra.

    One that is not installed here goes by its own name.
    """
    extras = PROJECT["optional-dependencies"]
    users = [name for extra, names in extras.items() if extra != "dev" for name in names]
    declared = {_normal(name) for name in [*PROJECT["dependencies"], *users]}
    distributions = _distributions()
    for module, file in _imports():
        found = {_normal(name) for name in distributions.get(module, [module])}
        assert found & declared, f"{file} imports {module}: declare one of {sorted(found)}"


def test_what_is_needed_is_imported_first_and_extras_where_they_are_used() -> None:
    """A bare installation imports every module: what an extra brings is imported inside functions."""
    required = {_normal(name) for name in PROJECT["dependencies"]}
    distributions = _distributions()
    for module, file in _imports(top_level_only=True):
        assert {_normal(name) for name in distributions[module]} & required, (module, str(file))


def test_type_checkers_see_the_names_that_run() -> None:
    tree = ast.parse((ROOT / "mmg_ray" / "__init__.py").read_text())
    typed = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mmg_ray")
        for alias in node.names
    }
    assert typed == mmg_ray._HOME | dict.fromkeys(mmg_ray._PIPELINES, "mmg_ray")
    assert (ROOT / "mmg_ray" / "py.typed").exists()


def test_pipelines_need_no_import_of_their_own() -> None:
    code = "import mmg_ray; mmg_ray.genomics.run; mmg_ray.neural.run; print('genomics' in dir(mmg_ray))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "True\n"


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    [paper] = citation["references"]
    assert paper["url"] == PROJECT["urls"]["Paper"]


def test_notes_of_a_release_come_from_fragments() -> None:
    """Each is of a kind that towncrier knows, and the mark that it writes below is there."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]
    assert (ROOT / "CHANGELOG.md").read_text().count(settings["start_string"]) == 1
    kinds = "|".join(kind["directory"] for kind in settings["type"])
    for file in (ROOT / "changes").iterdir():
        assert re.fullmatch(rf"\+[\w.-]+\.({kinds})\.md|README\.md", file.name), file
        assert len(file.read_text().split()) > 3, file


def test_what_a_program_imports_is_bounded_from_below() -> None:
    """`make test-lowest` runs the tests with these."""
    asked = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    assert [name for name in asked if ">=" not in name and not name.startswith("mmg-ray[")] == []


@pytest.mark.parametrize("recipe", sorted((ROOT / "mmg_ray" / "scheduled").glob("kubernetes/*")))
def test_recipes_name_this_version(recipe: Path) -> None:
    for version in re.findall(r"mmg-ray:([\d.]+)", recipe.read_text()):
        assert version == PROJECT["version"]


@functools.cache
def _distributions() -> dict[str, list[str]]:
    """Top-level modules that are installed here, and what brought each."""
    return dict(importlib.metadata.packages_distributions())


def _imports(top_level_only: bool = False) -> Iterator[tuple[str, Path]]:
    """Top-level names of modules from outside that the package imports, and where."""
    for file in sorted((ROOT / "mmg_ray").rglob("*.py")):
        tree = ast.parse(file.read_text())
        for node in tree.body if top_level_only else ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                module = name.split(".")[0]
                if module not in sys.stdlib_module_names | {"mmg_ray"}:
                    yield module, file


def _normal(requirement: str) -> str:
    """The name of a distribution as its index compares it."""
    name = re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_conda_recipe_asks_for_the_same() -> None:
    """Names that conda-forge has otherwise aside."""
    recipe = yaml.safe_load((ROOT / "workflows" / "conda" / "recipe.yaml").read_text())
    own = {"pytorch": "torch", "ray-core": "ray"}
    run = [text.split() for text in recipe["requirements"]["run"]]
    found = {f"{own.get(name, name)}{bound}" for name, bound in run if name != "python"}
    assert found == set(PROJECT["dependencies"])
    assert recipe["context"]["version"] == PROJECT["version"]
    assert dict(run)["python"] == PROJECT["requires-python"]
    scripts = [f"{name} = {of}" for name, of in PROJECT["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == scripts
    assert recipe["about"]["summary"] == PROJECT["description"]


def test_modules_are_of_one_concern() -> None:
    """Longer ones want a room of their own, see docs/contributing.md."""
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text().splitlines())
        for file in (ROOT / "mmg_ray").rglob("*.py")
    }
    assert {name: n for name, n in lengths.items() if n > 300} == {}
