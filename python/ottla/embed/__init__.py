"""What a Python program uses without a socket: so far the codec alone, for those who may not import `ottla._core`."""

from __future__ import annotations

from ottla import _core

__all__ = ["new_codec"]


def new_codec() -> _core.Codec:
    """Give a codec of Kafka's messages. Loading it costs milliseconds: no broker comes along."""
    return _core.Codec()
