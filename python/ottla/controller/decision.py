"""What the pure half of the controller returns: records to append, and what each item of a request is answered.

A decision reads an image and changes nothing. `Controller` appends `records` as one batch, whole or not at all, applies
them once they are committed, and only then hands out `results`. No records means nothing to wait for.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from msgspec import Struct, field

Result = TypeVar("Result")

# Kafka's controller takes at most this many records in one batch, and this many new partitions in one request.
RECORDS_MAX = 10_000
NEW_PARTITIONS_MAX = 10_000


class Decision(Struct, Generic[Result]):
    """Records to append as one batch, and the results to hand out once they are committed."""

    results: list[Result]
    records: list[Struct] = field(default_factory=list)
