"""What makes a directory of `ottla.Log` a data directory of a broker: its metadata log says which topic lies there.

The same decisions as in the broker, by the same controller, over the same image: a new directory gets the features and
a registration, as at a broker's first start, and the topic; a start that was not clean gets new leader epochs. What a
broker has altered meanwhile counts.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from ottla.clock import DeadlineQueue, SystemRandom
from ottla.config.topic_config import effective, validate
from ottla.config.topic_settings import TOPIC_SETTINGS
from ottla.controller.controller import Controller
from ottla.controller.create_topics import NewTopic, TopicDefaults, create_topics
from ottla.controller.decision import Decision
from ottla.controller.image import TOPIC_RESOURCE
from ottla.controller.names import INTERNAL_TOPICS, check_name
from ottla.controller.registration import check_features, features_to_write, register
from ottla.errors import ErrorCode, InvalidInput, NewerFormat, RequestError, StorageError
from ottla.messages import ConfigRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ottla import _core
    from ottla.controller.image import MetadataImage
    from ottla.types import Codec

Result = TypeVar("Result")

# What a log of one's own differs in from a topic nobody has asked anything of: it keeps its records, whatever their
# time.
OWN_SETTINGS: Mapping[str, str] = {
    "retention.ms": "-1",
    "message.timestamp.after.max.ms": str(2**63 - 1),
}
_SNAPSHOT_BYTES = 1024 * 1024
_DEFAULTS = {name: setting.default for name, setting in TOPIC_SETTINGS.items()}


class LogTopic(Struct, frozen=True):
    """What opening the partition takes."""

    name: str
    topic_id: bytes
    leader_epoch: int
    # Every setting that holds, by Kafka's names.
    settings: tuple[tuple[str, str], ...]


class _Journal:
    """The metadata log as the controller wants it: an append returns once it is on the disk."""

    def __init__(self, directory: _core.LogDirectory) -> None:
        self._directory = directory
        self.append = directory.append
        self.read = directory.read
        self.latest_snapshot = directory.latest_snapshot
        self.write_snapshot = directory.write_snapshot

    @property
    def log_end_offset(self) -> int:
        return self._directory.log_end_offset

    @property
    def leader_epoch(self) -> int:
        return self._directory.leader_epoch

    def when_committed(self, offset: int, callback: Callable[[], None]) -> None:  # noqa: ARG002 - it is already
        callback()


def find_or_make(
    directory: _core.LogDirectory, codec: Codec, name: str | None, default_name: str, asked: Mapping[str, str]
) -> LogTopic:
    """Find the topic in the metadata log, or write it there; settings that are `asked` for and differ are altered.

    Without a name the only topic there is, or `default_name`. Raises `InvalidInput` (`RequestError` in Kafka's words),
    `NewerFormat`, `StorageError`.
    """
    controller = Controller(
        _Journal(directory),
        codec,
        directory,
        DeadlineQueue(),
        snapshot_bytes=_SNAPSHOT_BYTES,
        on_change=lambda _image, _change: None,
    )
    controller.replay()
    image = controller.image
    unknown = check_features(image)
    if unknown:
        raise NewerFormat(f"the directory uses {', '.join(unknown)}, which this version does not understand")
    validate(asked, _DEFAULTS)
    if name is None:
        name = _only_topic(image) or default_name
    check_name(name)
    if _must_register(image, directory, name):
        decide = partial(
            register,
            broker_id=directory.node_id,
            end_offset=directory.log_end_offset,
            endpoints=[],
            rack=None,
            random=SystemRandom(),
            clean_shutdown=directory.clean_shutdown,
        )
        _change(controller, decide)
    if name not in image.topics:
        _create(controller, name, {**OWN_SETTINGS, **asked})
    else:
        _alter(controller, name, asked)
    topic = image.topics[name]
    if len(topic.partitions) != 1:
        raise InvalidInput(f"topic {name} has {len(topic.partitions)} partitions: a log is a topic with one")
    values = effective(image.configs.get((TOPIC_RESOURCE, name), {}), _DEFAULTS)
    texts = {n: TOPIC_SETTINGS[n].text(value) for n, value in values.items() if value is not None}
    settings = tuple((n, text) for n, text in texts.items() if text is not None)
    return LogTopic(name, topic.topic_id, topic.partitions[0].leader_epoch, settings)


def _only_topic(image: MetadataImage) -> str | None:
    names = sorted(image.topics.keys() - INTERNAL_TOPICS)
    if len(names) > 1:
        raise InvalidInput(f"there are several topics here, {', '.join(names)}: say which by topic=")
    return names[0] if names else None


def _must_register(image: MetadataImage, directory: _core.LogDirectory, name: str) -> bool:
    topic = image.topics.get(name)
    if topic is None or features_to_write(image) or not directory.clean_shutdown:
        return True
    return any(partition.leader != directory.node_id for partition in topic.partitions)


def _create(controller: Controller, name: str, settings: Mapping[str, str]) -> None:
    defaults = TopicDefaults(1, 1, _DEFAULTS)
    topics = [NewTopic(name, configs=settings)]

    def decide(image: MetadataImage) -> Decision[Any]:
        return create_topics(image, topics, defaults, SystemRandom())

    for made in _change(controller, decide):
        if made.code is not ErrorCode.NONE:
            raise RequestError(made.code, made.message)


def _alter(controller: Controller, name: str, asked: Mapping[str, str]) -> None:
    def decide(image: MetadataImage) -> Decision[None]:
        known = image.configs.get((TOPIC_RESOURCE, name), {})
        validate({**known, **asked}, _DEFAULTS)
        records: list[Struct] = [
            ConfigRecord(resource_type=TOPIC_RESOURCE, resource_name=name, name=setting, value=text)
            for setting, text in asked.items()
            if known.get(setting) != text
        ]
        return Decision([None], records)

    _change(controller, decide)


def _change(controller: Controller, decide: Callable[[MetadataImage], Decision[Result]]) -> Sequence[Result]:
    """Make one change and wait for it: everything here happens before `change` returns."""
    outcomes: list[list[Result] | RequestError] = []
    controller.change(decide, outcomes.append)
    (outcome,) = outcomes
    if isinstance(outcome, RequestError):
        if outcome.code is ErrorCode.KAFKA_STORAGE_ERROR:
            raise StorageError("the metadata log could not be written: its lines in the log say why")
        raise outcome
    return outcome
