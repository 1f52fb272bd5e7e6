"""What a frame may cost in Python objects: 32 times its size, with the worst message there is."""

from __future__ import annotations

import gc
import tracemalloc
import types
import typing
from collections.abc import Iterator
from typing import Any, Union

import msgspec

from ottla import messages
from ottla._core import Codec
from ottla.errors import CodecError

CODEC = Codec()
NAMES: list[str] = vars(messages)["__all__"]
ELEMENTS = 2000
SMALLEST: dict[Any, Any] = {int: -100, str: "\u0416", bytes: b"", float: 0.5, bool: False}


def without_none(kind: Any) -> Any:
    """The type in `X | None`."""
    if typing.get_origin(kind) in (Union, types.UnionType):
        return next(part for part in typing.get_args(kind) if part is not type(None))
    return kind


def stuffed(cls: type[msgspec.Struct], depth: int = 0) -> Iterator[Any]:
    """Messages with one list of many small elements each, at any depth."""
    hints = typing.get_type_hints(cls, {name: getattr(messages, name) for name in NAMES})
    for name, hint in hints.items():
        kind = without_none(hint)
        if typing.get_origin(kind) is list:
            (element,) = typing.get_args(kind)
            if isinstance(element, type) and issubclass(element, msgspec.Struct):
                yield cls(**{name: [element()] * ELEMENTS})
                if depth < 4:
                    yield from (cls(**{name: [inner]}) for inner in stuffed(element, depth + 1))
            else:
                yield cls(**{name: [bytes(16) if element is bytes else SMALLEST[element]] * ELEMENTS})


def newest(name: str, value: Any) -> tuple[int, bytes] | None:
    """The message in its newest version; None if no version carries it."""
    for version in range(18, -1, -1):
        try:
            return version, CODEC.encode_struct(name, version, value)
        except CodecError:
            continue
    return None


def test_no_frame_becomes_more_than_32_times_its_size() -> None:
    """Peak memory while decoding, as tracemalloc counts it; what would take more is refused with a sentence."""
    taken = refused = 0
    gc.collect()
    tracemalloc.start()
    try:
        for name in NAMES:
            for value in stuffed(getattr(messages, name)):
                found = newest(name, value)
                if found is None:
                    continue
                version, frame = found
                tracemalloc.reset_peak()
                before, _ = tracemalloc.get_traced_memory()
                decoded = None
                try:
                    decoded = CODEC.decode_struct(name, version, frame)
                    taken += 1
                except CodecError as error:
                    assert "in memory" in str(error)  # noqa: PT017 - the other outcome is no failure
                    refused += 1
                _, peak = tracemalloc.get_traced_memory()
                assert peak - before <= max(32 * len(frame), 16 * 1024) + 4096, name
                del decoded
    finally:
        tracemalloc.stop()
    assert taken > 100
    assert refused > 10
