"""Every quiet heartbeat decided twice: in the short way and in the whole one, which must agree."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

from ottla.coordinator.group.consumer import heartbeat
from ottla.coordinator.group.consumer.group import ConsumerGroup
from ottla.coordinator.group.consumer.heartbeat import Heartbeats
from ottla.coordinator.group.consumer.quiet import quiet_step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ottla.coordinator.shard import Result
    from ottla.messages import ConsumerGroupHeartbeatRequest
    from ottla.types import RequestContext


class Seen:
    """How many heartbeats went the short way: with nothing to write, and to a new epoch."""

    def __init__(self) -> None:
        self.unchanged = self.next_epoch = self.whole = 0


@contextmanager
def both_ways() -> Iterator[Seen]:
    """Compare as long as this lasts."""
    seen = Seen()
    real = Heartbeats._beat

    def decide(self: Heartbeats, context: RequestContext, request: ConsumerGroupHeartbeatRequest) -> Result:
        group = self._env.groups.get(request.group_id)
        step = None
        if isinstance(group, ConsumerGroup):
            step = quiet_step(group, context, request, self._env.topics)
        if step is None:
            seen.whole += 1
            return real(self, context, request)
        assert isinstance(group, ConsumerGroup)
        seen.next_epoch += len(step)
        seen.unchanged += not step
        looked_at = group.looked_at_epoch
        revocation = ("consumer revocation", request.group_id, request.member_id)
        assert not self._env.shard.is_pending(revocation)
        with (
            mock.patch.object(heartbeat, "quiet_step", return_value=None),
            mock.patch.object(self._env.shard, "submit"),
        ):
            whole = real(self, context, request)
            assert not self._env.shard.submit.called  # type: ignore[attr-defined]
        assert (group.looked_at_epoch, self._env.shard.is_pending(revocation)) == (looked_at, False)
        short = real(self, context, request)
        assert list(short.records) == list(step) == list(whole.records)
        assert short.response == whole.response
        return short

    with mock.patch.object(Heartbeats, "_beat", decide):
        yield seen
