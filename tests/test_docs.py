"""The pages say what the program does: the reference is current, links lead somewhere, YAML is read."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from mmg_ray.config import Config, load_as
from mmg_ray.genomics.config import GenomicsConfig
from mmg_ray.neural.config import NeuralConfig

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_reference_is_what_the_docstrings_say() -> None:
    spec = importlib.util.spec_from_file_location("make_api", ROOT / "docs" / "make_api.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    current = (ROOT / "docs" / "api.md").read_text()
    assert module.page() == current, "run: python docs/make_api.py"
    for name in ("mmg_ray.estimate_mi", "mmg_ray.open_run", "mmg-ray export"):
        assert f"### {name}" in current


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_configurations_in_pages_are_read(page: Path) -> None:
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
        load_as(_kind(page), block, [] if "data:" in block else ["data.path=x.csv"])


def test_commands_in_pages_name_fields_that_there_are() -> None:
    for page in PAGES:
        for setting in re.findall(r"--set '?([a-z_]+\.[a-z_.]+)=", page.read_text()):
            section, *rest = setting.split(".")
            fields = _kind(page).__pydantic_fields__[section].annotation
            for name in rest:
                assert name in fields.__pydantic_fields__, (page.name, setting)
                fields = fields.__pydantic_fields__[name].annotation


def _kind(page: Path) -> type[Config]:
    """The configuration that a page speaks of: all fields of a run, and those of a pipeline."""
    return NeuralConfig if page.name == "neural.md" else GenomicsConfig
