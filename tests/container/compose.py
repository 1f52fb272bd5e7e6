"""Compose files as an engine reads them, as far as a broker's environment is concerned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|(?P<plain>\w+)|\{(?P<name>\w+)(?:(?P<how>:?-)(?P<default>[^}]*))?\})")


@dataclass(frozen=True)
class Service:
    """One service of a compose file."""

    name: str
    image: str
    environment: dict[str, str]


def interpolated(text: str, shell: Mapping[str, str]) -> str:
    """`$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME-default}` from the shell's environment; `$$` is a dollar."""

    def value(found: re.Match[str]) -> str:
        if found["escaped"]:
            return "$"
        given = shell.get(found["plain"] or found["name"])
        if given is None or (found["how"] == ":-" and not given):
            return found["default"] or ""
        return given

    return _VARIABLE.sub(value, text)


def plain(value: object) -> str:
    """A value of YAML as the environment has it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def pair(line: str) -> tuple[str, str]:
    """NAME=value apart."""
    name, _, value = line.partition("=")
    return name, value


def services(file: Path, shell: Mapping[str, str]) -> dict[str, Service]:
    """Every service of a file, with the variables of its env files under its own."""
    content: dict[str, Any] = yaml.safe_load(interpolated(file.read_text(), shell))
    found = {}
    for name, service in content["services"].items():
        environment: dict[str, str] = {}
        env_files = service.get("env_file", [])
        for env_file in [env_files] if isinstance(env_files, str) else env_files:
            lines = (file.parent / env_file).read_text().splitlines()
            environment.update(pair(line) for line in lines if line.strip() and not line.startswith("#"))
        own = service.get("environment", {})
        pairs = own.items() if isinstance(own, dict) else map(pair, own)
        environment.update((variable, plain(value)) for variable, value in pairs)
        found[name] = Service(name, service["image"], environment)
    return found
