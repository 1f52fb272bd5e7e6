"""Topics that are made because somebody needs them: by name from the data plane, and the broker's own.

**By name** (`auto.create.topics.enable`): a Metadata or Produce request names topics that do not exist; the data plane
asks and waits. The answer is by name: NONE once the topic is committed and published, so that the data plane finds it
when it looks again; UNKNOWN_TOPIC_OR_PARTITION if topics are not to be made; else the code CreateTopics would answer.
Kafka answers UNKNOWN_TOPIC_OR_PARTITION at first and lets the client come back; waiting saves it the round trip.

**The broker's own** topics are made at first need with the settings `controller.internal_topics` has. Everybody who
asks while one is being made waits for the same change.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from ottla.controller.create_topics import CreatedTopic, NewTopic, TopicDefaults, create_topics
from ottla.controller.internal_topics import own_topics
from ottla.controller.names import INTERNAL_TOPICS, METADATA_TOPIC
from ottla.errors import ErrorCode, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ottla.config.broker_config import BrokerConfig
    from ottla.controller.controller import Controller
    from ottla.controller.decision import Decision
    from ottla.controller.image import MetadataImage
    from ottla.types import Random

log = logging.getLogger(__name__)


class InternalTopics:
    """Makes the broker's own topics when they are first needed."""

    def __init__(self, controller: Controller, config: BrokerConfig, defaults: TopicDefaults, random: Random) -> None:
        self._controller = controller
        self._config = config
        self._defaults = defaults
        self._random = random
        # Who waits for a topic, by its name; nobody, unless a change is under way.
        self._waiting: dict[str, list[Callable[[ErrorCode], None]]] = {}

    def ensure(self, name: str, done: Callable[[ErrorCode], None]) -> None:
        """Call `done` with NONE when the topic of this name is there, or with what keeps it from being made."""
        if name in self._controller.image.topics:
            done(ErrorCode.NONE)
            return
        waiting = self._waiting.setdefault(name, [])
        waiting.append(done)
        if len(waiting) == 1:
            self._controller.change(partial(self._decide, name), partial(self._made, name))

    def _decide(self, name: str, image: MetadataImage) -> Decision[CreatedTopic]:
        topic = own_topics(self._config, len(image.live_brokers()))[name]
        return create_topics(image, [topic], self._defaults, self._random)

    def _made(self, name: str, outcome: list[CreatedTopic] | RequestError) -> None:
        code = outcome.code if isinstance(outcome, RequestError) else outcome[0].code
        if code is ErrorCode.TOPIC_ALREADY_EXISTS:
            code = ErrorCode.NONE
        if code is not ErrorCode.NONE:
            log.error("%s could not be created: %s", name, code.name)
        for done in self._waiting.pop(name):
            try:
                done(code)
            except BaseException:
                # Whoever asked is at fault (a panic of the native side is no Exception); those who wait behind are not.
                log.exception("telling that %s is there failed", name)


class AutoCreation:
    """Makes topics a client has named."""

    def __init__(
        self,
        controller: Controller,
        internal_topics: InternalTopics,
        defaults: TopicDefaults,
        random: Random,
        *,
        enabled: bool,
    ) -> None:
        self._controller = controller
        self._internal_topics = internal_topics
        self._defaults = defaults
        self._random = random
        self._enabled = enabled

    def create(self, names: Sequence[str], done: Callable[[list[tuple[str, int]]], None]) -> None:
        """Make what is missing of `names`; `done` gets the code for each, in their order."""
        if not self._enabled:
            done([(name, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) for name in names])
            return
        self._ensure([name for name in self._defaults.own_topics if name in names], names, {}, done)

    def _ensure(
        self,
        own: Sequence[str],
        names: Sequence[str],
        known: dict[str, ErrorCode],
        done: Callable[[list[tuple[str, int]]], None],
    ) -> None:
        # Topics of coordinators have settings of their own. Other internal ones wait for those who own them.
        if own:
            self._internal_topics.ensure(
                own[0], lambda code: self._ensure(own[1:], names, {**known, own[0]: code}, done)
            )
        else:
            self._create(names, known, done)

    def _create(
        self,
        names: Sequence[str],
        known: dict[str, ErrorCode],
        done: Callable[[list[tuple[str, int]]], None],
    ) -> None:
        # What a client may not make by naming it is unknown to it.
        for name in (INTERNAL_TOPICS | {METADATA_TOPIC}).intersection(names):
            known.setdefault(name, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        wanted = [NewTopic(name) for name in dict.fromkeys(names) if name not in known]

        def made(outcome: list[CreatedTopic] | RequestError) -> None:
            if isinstance(outcome, RequestError):
                codes: dict[str, Any] = dict.fromkeys(names, outcome.code) | known
            else:
                codes = {topic.name: topic.code for topic in outcome} | known
            exists = ErrorCode.TOPIC_ALREADY_EXISTS
            done([(name, ErrorCode.NONE if codes[name] is exists else codes[name]) for name in names])

        decide = partial(create_topics, topics=wanted, defaults=self._defaults, random=self._random)
        self._controller.change(decide, made)
