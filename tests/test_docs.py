"""The pages say what the program does: the reference is current, links lead somewhere, YAML is read."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import click
import pytest

from mmg_ray.cli import main
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
    lines = {
        (page, line)
        for page in PAGES
        for line in page.read_text().replace("\\\n", " ").splitlines()
    }
    for page, line in lines:
        kind = NeuralConfig if "mmg-ray neural" in line else _kind(page)
        for setting in re.findall(r"--set '?([a-z_]+\.[a-z_.]+)=", line):
            section, *rest = setting.split(".")
            fields = kind.__pydantic_fields__[section].annotation
            for name in rest:
                assert name in fields.__pydantic_fields__, (page.name, setting)
                fields = fields.__pydantic_fields__[name].annotation


def test_commands_and_options_in_pages_and_help_are_there() -> None:
    """Of every line that calls mmg-ray, in a page, in the text of one, or in help."""
    texts = {page.name: page.read_text() for page in PAGES}
    called = {
        (name, line)
        for name, text in texts.items()
        for line in re.findall(
            r"^ *(?:\S+=\S+ )*mmg-ray .*|`mmg-ray [^`]+`", text.replace("\\\n", " "), re.MULTILINE
        )
    }
    assert len(called) > 50
    for name, line in called:
        words = line.split("#")[0].strip("` ").split("mmg-ray ", 1)[1].split()
        if words[0].startswith("-"):
            continue
        command = main.get_command(click.Context(main), words[0])
        assert command is not None, (name, line)
        own = (
            words[: words.index("--")] if "--" in words else words
        )  # what `submit` hands on follows
        options = {"--help"}
        for found in command.params:
            options |= {*found.opts, *found.secondary_opts}
        for word in own:
            if word.startswith("--"):
                assert word.split("=")[0].rstrip(",.;:)") in options, (name, line)


def test_figures_of_accuracy_are_those_of_the_benchmarks() -> None:
    """The one table of errors that the README quotes; no page says another number."""
    text = (ROOT / "benchmarks" / "README.md").read_text()
    rows: dict[tuple[str, str], list[str]] = {}
    n = ""
    for line in text.split("## Accuracy")[1].split("by task")[0].splitlines():
        if line.startswith("|"):
            row = [cell.strip() for cell in line.split("|")[1:-1]]
            n = row[0] or n
            rows[n, row[2]] = row
    expected = {
        n: [rows[n, "auto"][3], rows[n, "KSG k=3"][3], rows[n, "auto"][8]]
        for n in ("300", "1000", "5000")
    }
    quoted = re.findall(
        r"^\| (\d+) \| (\.\d+) \| (\.\d+) \| (\.\d+) \|$", (ROOT / "README.md").read_text(), re.M
    )
    assert {n: found for n, *found in quoted} == expected


def _kind(page: Path) -> type[Config]:
    """The configuration that a page speaks of: all fields of a run, and those of a pipeline."""
    return NeuralConfig if page.name == "neural.md" else GenomicsConfig
