"""Log directories: which partitions lie where, and how large they are (KIP-113, KIP-827)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.admin import apis
from ottla.admin.connection import error_of
from ottla.admin.results import LogDir, Replica
from ottla.messages.describe_log_dirs import DescribeLogDirsRequest, DescribeLogDirsRequestDescribableLogDirTopic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ottla.admin.connection import Deadline
    from ottla.admin.routing import Routing


def described(
    routing: Routing,
    broker_ids: Iterable[int] | None,
    topics: Mapping[str, Sequence[int]] | None,
    deadline: Deadline,
) -> list[LogDir]:
    """Ask each broker (all of them: None) for its directories, with all replicas or those of some partitions."""
    if broker_ids is None:
        broker_ids = [broker.broker_id for broker in routing.cluster(deadline, refresh=True).brokers]
    request = DescribeLogDirsRequest(
        topics=None
        if topics is None
        else [DescribeLogDirsRequestDescribableLogDirTopic(name, list(those)) for name, those in topics.items()]
    )
    found: list[LogDir] = []
    for broker_id in broker_ids:
        answer, _ = routing.ask(
            routing.by_id(broker_id, deadline),
            apis.DESCRIBE_LOG_DIRS,
            request,
            deadline,
        )
        if answer.error_code:
            raise error_of(answer.error_code, None)
        for row in answer.results:
            replicas = [
                Replica(topic.name, each.partition_index, each.partition_size, each.offset_lag, each.is_future_key)
                for topic in row.topics
                for each in topic.partitions
            ]
            found.append(
                LogDir(
                    broker_id=broker_id,
                    path=row.log_dir,
                    replicas=tuple(sorted(replicas, key=lambda each: (each.topic, each.partition))),
                    total_bytes=row.total_bytes if row.total_bytes >= 0 else None,
                    usable_bytes=row.usable_bytes if row.usable_bytes >= 0 else None,
                    error=error_of(row.error_code, None).code.name if row.error_code else None,
                )
            )
    return found
