"""Where settings come from: a file on disk, or what a program hands over."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ottla.config.broker_config import Given, given_in_file
from ottla.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence


def read_config_file(path: str | os.PathLike[str]) -> list[Given]:
    """Read a server.properties. Raises `ConfigError`, also if the file cannot be read."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    return given_in_file(content, str(path))


def given_by(config: Mapping[str, object] | str | os.PathLike[str] | Sequence[Given] | None) -> list[Given]:
    """Give settings as somebody wrote them: a file, or names with values of any plain type."""
    if config is None:
        return []
    if isinstance(config, (str, os.PathLike)):
        return read_config_file(config)
    if isinstance(config, Mapping):
        # None is how a program says "not set".
        return [Given(name, _text(value), "config") for name, value in config.items() if value is not None]
    return list(config)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(str(entry) for entry in value)
    return str(value)
