"""Subscriptions by regular expression: which topics the patterns of a group match, and when that is found out.

All patterns of a group are matched together, after the heartbeat which found that

    a pattern is new to the group, or
    topics were created since they were matched, or
    that was `group.consumer.regex.refresh.interval.ms` ago (topics may have been deleted),

but not twice at a time, nor within ten seconds. It is done on another thread: thousands of names times a pattern that
was made to be slow take seconds, in which every other member must be heard. What came of it is a write of its own. So a
member that joins with a new pattern gets its partitions with its second heartbeat, or a later one. What a pattern
matches is in the log: a coordinator that starts again knows it without looking.

The syntax is RE2's, as in Kafka (there RE2/J, here Rust's `regex`, which is of the same family): no look-around and no
back-references, so that a match takes time linear in the name whatever the pattern. A name is matched as a whole.

Reference: Apache Kafka 4.3, TopicRegexResolver and GroupMetadataManager.handleRegularExpressionsResult.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from ottla.coordinator.group.consumer.group import ConsumerGroup, ResolvedPattern
from ottla.coordinator.group.consumer.records import group_epoch, resolved_pattern
from ottla.coordinator.shard import NOTHING, Result

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ottla.coordinator.group.consumer.environment import Environment
    from ottla.coordinator.shard import CoordinatorRecord

log = logging.getLogger(__name__)


class Resolver:
    """Matches patterns."""

    def __init__(self, environment: Environment) -> None:
        self._env = environment
        # Groups whose patterns are being matched.
        self._under_way: set[str] = set()

    def resolve(self, group_id: str, patterns: frozenset[str]) -> Result:
        """Have the patterns matched."""
        env, group = self._env, self._env.groups.get(group_id)
        if not isinstance(group, ConsumerGroup) or group_id in self._under_way:
            return NOTHING
        wanted = sorted(pattern for pattern in patterns if group.pattern_subscribers[pattern])
        if not wanted:
            return NOTHING
        self._under_way.add(group_id)
        now_ms = env.clock.now_ms()
        version, names = env.cluster.names()

        def done(matched: list[list[str]] | Exception) -> None:
            self._under_way.discard(group_id)
            if isinstance(matched, Exception):
                # The next heartbeat asks again.
                log.warning("group %.255r: its patterns were not matched: %s", group_id, matched)
                return
            found = {
                pattern: ResolvedPattern(frozenset(topics), version, now_ms)
                for pattern, topics in zip(wanted, matched, strict=True)
            }
            env.shard.submit(lambda: self._take(group_id, found))

        env.cluster.elsewhere(lambda: env.patterns.match(wanted, names), done)
        return NOTHING

    def _take(self, group_id: str, found: Mapping[str, ResolvedPattern]) -> Result:
        """Write down what the patterns match; if that is something else than before, the group epoch grows."""
        env, group = self._env, self._env.groups.get(group_id)
        if not isinstance(group, ConsumerGroup):
            return NOTHING
        records: list[CoordinatorRecord] = []
        subscriptions = group.subscriptions_with([], None)
        by_pattern: Counter[str] = subscriptions.by_pattern
        bump = False
        for pattern, new in found.items():
            if not group.pattern_subscribers[pattern]:
                # Nobody subscribes by it any more.
                continue
            old = group.patterns.get(pattern)
            if (frozenset() if old is None else old.topics) != new.topics:
                bump = True
                by_pattern.subtract(() if old is None else old.topics)
                by_pattern.update(new.topics)
            records.append(resolved_pattern(group_id, pattern, new))
        metadata_hash = env.hashes.of_group(subscriptions._replace(by_pattern=+by_pattern).topics)
        if bump or metadata_hash != group.metadata_hash:
            records.append(group_epoch(group_id, group.epoch + 1, metadata_hash))
            group.looked_at_epoch = group.epoch + 1
            log.info("group %.255r: epoch %d, patterns match other topics", group_id, group.epoch + 1)
        return Result(records=records)
