"""The lowest versions that pyproject.toml allows, as constraints for pip: python tests/lowest_versions.py

torch is left out, whose builds differ by machine; 2.6 was tried.
"""

import re
import sys
import tomllib
from itertools import chain
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest() -> dict[str, str]:
    """Version by name of a package, of all extras, too."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    asked = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    found = (re.fullmatch(r"([\w.-]+)(?:\[[^]]*\])?(?:>=([\d.]+))?", one) for one in asked)
    return {m[1]: m[2] for m in found if m and m[1] not in ("torch", "mmg-ray")}


if __name__ == "__main__":
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in lowest().items())
