"""Packages that a program need not have: pyarrow and fastavro come with `pip install 'ottla[arrow]'`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ottla.errors import InvalidInput


def _need(module: str, what: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise InvalidInput(f"{what} needs {package}: pip install 'ottla[arrow]'") from error


def pyarrow(what: str = "Arrow") -> Any:
    """Give pyarrow, or say how to get it."""
    return _need("pyarrow", what)


def pyarrow_json() -> Any:
    """Give its reader of JSON."""
    return _need("pyarrow.json", "Arrow")


def parquet() -> Any:
    """Give what it reads and writes Parquet with."""
    return _need("pyarrow.parquet", "Parquet")


def fastavro() -> Any:
    """Give fastavro, or say how to get it."""
    return _need("fastavro", "Avro")
