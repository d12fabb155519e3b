"""The documentation as a site: make docs, which executes the notebooks and treats warnings as errors."""

import importlib.metadata
from typing import Any

project, author = "mmg_ray", "The mmg_ray developers"
release = importlib.metadata.version("mmg-ray")
extensions = ["myst_nb", "sphinx.ext.mathjax"]
html_theme = "sphinx_book_theme"
html_title = "mmg_ray"
exclude_patterns = ["_build"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300

# pages that lie outside of docs/, and what they are called in the site
_OUTSIDE = {
    "../benchmarks/README.md": "benchmarks.md",
    "../CHANGELOG.md": "changelog.md",
    "../README.md": "index.md",
}


def _inside(_app: Any, _name: str, source: list[str]) -> None:
    for path, page in _OUTSIDE.items():
        source[0] = source[0].replace(f"]({path}", f"]({page}")


def setup(app: Any) -> None:
    app.connect("source-read", _inside)
