"""Which names a topic may have, and which topics are Kafka's own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ottla.controller.image import collision_key
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from ottla.controller.image import MetadataImage

OFFSETS_TOPIC = "__consumer_offsets"
TRANSACTIONS_TOPIC = "__transaction_state"
SHARE_TOPIC = "__share_group_state"
METADATA_TOPIC = "__cluster_metadata"

# Topics clients see marked as internal.
INTERNAL_TOPICS = frozenset({OFFSETS_TOPIC, TRANSACTIONS_TOPIC, SHARE_TOPIC})

# A directory is named <topic>-<partition>, and file names end at 255 bytes.
NAME_LENGTH_MAX = 249

_LEGAL = re.compile(r"[a-zA-Z0-9._-]+")


def check_name(name: str) -> None:
    """Refuse a name no topic may have (INVALID_TOPIC_EXCEPTION), in Kafka's order and words."""
    if not name:
        reason = "the empty string is not allowed"
    elif name in (".", ".."):
        reason = f"'{name}' is not allowed"
    elif len(name) > NAME_LENGTH_MAX:
        reason = f"the length of '{name}' is longer than the max allowed length {NAME_LENGTH_MAX}"
    elif not _LEGAL.fullmatch(name):
        reason = f"'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    else:
        return
    raise RequestError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"Topic name is invalid: {reason}")


def check_collision(name: str, image: MetadataImage) -> None:
    """Refuse a name that only differs from an existing one in `.` and `_`, which are the same in metric names."""
    if "." not in name and "_" not in name:
        return
    others = image.colliding_names.get(collision_key(name), set()) - {name}
    if others:
        raise RequestError(
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            f"Topic '{name}' collides with existing topic: {min(others)}",
        )
