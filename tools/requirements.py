"""Prints the requirements in pyproject.toml: those for running, and those of the extras that are named.

The Makefile hands them to pip, which cannot install a project's dependencies without building the project.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def main(extras: list[str]) -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    print("\n".join(dict.fromkeys(wanted)))


main(sys.argv[1:])
