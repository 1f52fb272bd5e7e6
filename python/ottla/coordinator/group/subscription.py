"""Reading what consumers of the classic protocol say to each other.

The coordinator passes subscriptions and assignments on without looking, with one exception: which topics a group
subscribes to decides whether its offsets may expire (KIP-211) or be deleted (KIP-496). A subscription begins with an
int16 version, and every version begins with the fields of version 0, so that is what is read (as in Kafka); what a
later version has behind them is left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla.errors import OttlaError
from ottla.messages import ConsumerProtocolSubscription

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ottla.types import Codec

_VERSION_BYTES: Final = 2


def subscribed_topics(codec: Codec, subscriptions: Iterable[bytes]) -> frozenset[str] | None:
    """The topics all these subscriptions name together; None if one of them cannot be read."""
    topics: set[str] = set()
    for subscription in subscriptions:
        if len(subscription) < _VERSION_BYTES:
            return None
        try:
            read = codec.decode_struct("ConsumerProtocolSubscription", 0, subscription[_VERSION_BYTES:])
        except (OttlaError, ValueError):
            return None
        assert isinstance(read, ConsumerProtocolSubscription)
        topics.update(read.topics)
    return frozenset(topics)
