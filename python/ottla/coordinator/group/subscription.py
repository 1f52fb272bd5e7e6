"""Reading what consumers of the classic protocol say to each other.

The coordinator passes subscriptions and assignments on without looking, with one exception: which topics a group
subscribes to decides whether its offsets may expire (KIP-211) or be deleted (KIP-496). A subscription begins with an
int16 version; one later than we know is read as the last one we know, since later versions only add fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.errors import OttlaError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ottla.types import Codec

_VERSION_BYTES: Final = 2
_VERSION_MAX: Final = 3


def subscribed_topics(codec: Codec, subscriptions: Iterable[bytes]) -> frozenset[str] | None:
    """The topics all these subscriptions name together; None if one of them cannot be read."""
    topics: set[str] = set()
    for subscription in subscriptions:
        if len(subscription) < _VERSION_BYTES:
            return None
        version = int.from_bytes(subscription[:_VERSION_BYTES], "big", signed=True)
        try:
            read = codec.decode_struct(
                "ConsumerProtocolSubscription", min(max(version, 0), _VERSION_MAX), subscription[_VERSION_BYTES:]
            )
        except (OttlaError, ValueError):
            return None
        topics.update(getattr(read, "topics"))  # noqa: B009 - the codec's return type is the base of all messages
    return frozenset(topics)
