"""`kafka-topics`: list, create, describe, alter and delete topics.

Kafka: org.apache.kafka.tools.TopicCommand. Descriptions come in the order of names, where Kafka's have none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ottla.cli.kafka import words
from ottla.cli.kafka.connection import NoFile, admin, command_config
from ottla.cli.kafka.options import Option, OptionError, OptionParser, Options, integer
from ottla.cli.kafka.usage import (
    InvalidPattern,
    TopicPattern,
    complain,
    help_or_version,
    log_line,
    not_with,
    required,
    say,
    usage_and_exit,
)
from ottla.errors import ErrorCode, InvalidInput, OttlaError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ottla.admin import Admin, ConfigEntry, NewPartitions, Partition, Topic

ACTIONS = ("list", "describe", "create", "alter", "delete")
REPORTS = (
    "under-replicated-partitions",
    "under-min-isr-partitions",
    "at-min-isr-partitions",
    "unavailable-partitions",
)
LOGGER = "org.apache.kafka.tools.TopicCommand"
REPLICATION_FACTOR_MAX = 32_767
TO_CONFIGS = "(To alter topic configurations, the kafka-configs tool can be used.)"

PARSER = OptionParser(
    Option("bootstrap-server", "Where the cluster is found. Needed.", "server to connect to"),
    Option("command-config", "A file of client settings.", "command config property file"),
    Option("list", "List the topics."),
    Option("create", "Create a topic."),
    Option("delete", "Delete topics."),
    Option("alter", "Give topics more partitions. Settings are changed with kafka-configs."),
    Option("describe", "Show topics with their partitions."),
    Option("topic", "A topic; but for --create, a regular expression for the whole name.", "topic"),
    Option("topic-id", "The id of the topic to describe.", "topic-id"),
    Option(
        "config",
        "With --create: a setting of the new topic, as often as needed. `ottla settings --topic` lists them.",
        "name=value",
    ),
    Option("delete-config", "Without effect since 4.0.", "name"),
    Option(
        "partitions",
        "How many partitions the topic is to have. With keys, more partitions put the keys elsewhere.",
        "# of partitions",
        "Integer",
    ),
    Option("replication-factor", "How many replicas each partition is to have.", "replication factor", "Integer"),
    Option("replica-assignment", "Brokers of each partition: 1:2,2:3 are two of two replicas each.", "brokers"),
    Option("under-replicated-partitions", "Describe only partitions with replicas that are not in sync."),
    Option("unavailable-partitions", "Describe only partitions without a leader that is up."),
    Option("under-min-isr-partitions", "Describe only partitions with fewer in sync than min.insync.replicas."),
    Option("at-min-isr-partitions", "Describe only partitions with as many in sync as min.insync.replicas."),
    Option("topics-with-overrides", "Describe only topics with settings of their own."),
    Option("if-exists", "With --alter, --delete, --describe: nothing happens if the topic does not exist."),
    Option("if-not-exists", "With --create: nothing happens if the topic exists."),
    Option("exclude-internal", "With --list, --describe: leave internal topics out."),
    Option("partition-size-limit-per-response", "Accepted; pages have 2000 partitions.", "number", "Integer"),
)


class Refused(Exception):
    """The tool itself refuses; `kind` is the exception Kafka's tool would print."""

    def __init__(self, sentence: str, kind: str = "java.lang.IllegalArgumentException") -> None:
        super().__init__(sentence)
        self.kind = kind


def run(arguments: Sequence[str]) -> int:
    """Run the tool."""
    try:
        options = PARSER.parse(arguments)
        _check(options)
        client = admin(options.value("bootstrap-server"), command_config(options), client_id="kafka-topics")
    except OptionError as error:
        complain(str(error), f"{error.kind}: {error}")
        return 1
    except Refused as error:
        complain(str(error), f"{error.kind}: {error}")
        return 1
    except NoFile as error:
        complain(str(error), f"java.nio.file.NoSuchFileException: {error}")
        return 1
    except InvalidInput as error:
        complain(
            "Failed to create new KafkaAdminClient",
            "org.apache.kafka.common.KafkaException: Failed to create new KafkaAdminClient",
            f"Caused by: {words.exception(error)}",
        )
        return 1
    with client:
        return _act(client, options)


def _act(client: Admin, options: Options) -> int:
    try:
        if options.has("create"):
            _create(client, options)
        elif options.has("alter"):
            _alter(client, options)
        elif options.has("list"):
            say("\n".join(_selected(client, options)))
        elif options.has("describe"):
            _describe(client, options)
        else:
            _delete(client, options)
    except (OptionError, Refused) as error:
        return _failed(str(error), f"{error.kind}: {error}")
    except InvalidPattern as error:
        return _failed(str(error), f"java.lang.RuntimeException: {error}")
    except OttlaError as error:
        return _failed(words.message(error), words.exception(error))
    return 0


def _failed(sentence: str, exception: str) -> int:
    say(f"Error while executing topic command : {sentence}")
    log_line("ERROR", f"{exception}\n", LOGGER)
    return 1


def _check(options: Options) -> None:
    if options.empty:
        usage_and_exit(PARSER, "Create, delete, describe, or change a topic.")
    help_or_version(options, "This tool helps to create, delete, describe, or change a topic.")
    if sum(options.has(action) for action in ACTIONS) != 1:
        usage_and_exit(
            PARSER,
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete",
        )
    if options.has("delete-config"):
        complain(
            "delete-config option is no longer supported and deprecated since version 4.0. "
            "The config will be fully removed in future releases."
        )
    if not options.has("bootstrap-server"):
        raise Refused("--bootstrap-server must be specified")
    if options.has("describe") and options.has("if-exists"):
        if not options.has("topic") and not options.has("topic-id"):
            usage_and_exit(PARSER, "--topic or --topic-id is required to describe a topic")
        if options.has("topic") and options.has("topic-id"):
            say(
                "Only topic id will be used when both --topic and --topic-id are specified and topicId is not "
                "Uuid.ZERO_UUID"
            )
    if not options.has("list") and not options.has("describe"):
        required(options, "topic")
    if options.has("alter"):
        if options.has("config"):
            usage_and_exit(
                PARSER,
                'Option combination "[[bootstrap-server], [config]]" can\'t be used with option "[alter]" '
                f"{TO_CONFIGS}",
            )
        required(options, "partitions")
    for name, allowed in (
        ("config", ("alter", "create")),
        ("partitions", ("alter", "create")),
        ("replication-factor", ("create",)),
        ("replica-assignment", ("alter", "create")),
    ):
        not_with(options, name, _actions_but(allowed))
    if options.has("create"):
        not_with(options, "replica-assignment", ("partitions", "replication-factor"))
    for name in REPORTS:
        not_with(options, name, (*_actions_but(("describe",)), "topics-with-overrides"))
    not_with(options, "topics-with-overrides", (*_actions_but(("describe",)), *REPORTS))
    not_with(options, "if-exists", _actions_but(("alter", "delete", "describe")))
    not_with(options, "if-not-exists", _actions_but(("create",)))
    not_with(options, "exclude-internal", _actions_but(("list", "describe")))


def _actions_but(allowed: Iterable[str]) -> list[str]:
    order = ("alter", "create", "describe", "list", "delete")
    return [action for action in order if action not in allowed]


# The actions.


def _create(client: Admin, options: Options) -> None:
    from ottla.admin import NewTopic
    from ottla.admin import required as required_outcome

    name, partitions, factor, assignment, settings = _wanted(options)
    if "." in name or "_" in name:
        say(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could "
            "collide. To avoid issues it is best to use either, but not both."
        )
    if factor is not None and not 1 <= factor <= REPLICATION_FACTOR_MAX:
        raise Refused(f"The replication factor must be between 1 and {REPLICATION_FACTOR_MAX} inclusive")
    if partitions is not None and partitions < 1:
        raise Refused("The partitions must be greater than 0")
    new = NewTopic(
        name,
        partitions=-1 if partitions is None else partitions,
        replication_factor=-1 if factor is None else factor,
        assignment=assignment,
        configs=tuple(settings.items()),
    )
    try:
        required_outcome(client.create_topics([new])[name])
    except RequestError as error:
        if error.code is ErrorCode.TOPIC_ALREADY_EXISTS and options.has("if-not-exists"):
            return
        if error.code is ErrorCode.INVALID_CONFIG and error.message.startswith("Invalid value"):
            # Kafka's tool checks values itself (LogConfig), and its exception has another name.
            raise Refused(error.message, words.CONFIG_EXCEPTION) from error
        raise
    say(f"Created topic {name}.")


def _alter(client: Admin, options: Options) -> None:
    from ottla.admin import required as required_outcome

    _, count, _, assignment, _ = _wanted(options)
    assert count is not None
    names = _existing(client, options)
    if not names:
        return
    wanted = _more_partitions(client, names, count, assignment)
    for outcome in client.create_partitions(wanted).values():
        required_outcome(outcome)


def _more_partitions(
    client: Admin, names: list[str], count: int, assignment: tuple[tuple[int, ...], ...]
) -> dict[str, NewPartitions]:
    from ottla.admin import NewPartitions
    from ottla.admin import required as required_outcome

    if not assignment:
        return {name: NewPartitions(count) for name in names}
    found = client.describe_topics(names)
    # Those the topic has stand in front.
    return {name: NewPartitions(count, assignment[len(required_outcome(found[name]).partitions) :]) for name in names}


def _delete(client: Admin, options: Options) -> None:
    from ottla.admin import required as required_outcome

    names = _existing(client, options)
    if names:
        for outcome in client.delete_topics(names).values():
            required_outcome(outcome)


def _selected(client: Admin, options: Options) -> list[str]:
    pattern = TopicPattern(options.value("topic")) if options.has("topic") else None
    return [
        topic.name
        for topic in client.list_topics()
        if (pattern is None or pattern.allows(topic.name)) and not (topic.internal and options.has("exclude-internal"))
    ]


def _existing(client: Admin, options: Options) -> list[str]:
    names = _selected(client, options)
    if not names and options.value("topic") and not options.has("if-exists"):
        raise Refused(f"Topic '{options.value('topic')}' does not exist as expected")
    return names


# What was asked for.


def _wanted(
    options: Options,
) -> tuple[str, int | None, int | None, tuple[tuple[int, ...], ...], dict[str, str]]:
    name = options.value("topic")
    partitions = options.value("partitions")
    factor = options.value("replication-factor")
    text = options.value("replica-assignment")
    return name, partitions, factor, _assignment(text) if text else (), _settings(options.values("config"))


def _assignment(text: str) -> tuple[tuple[int, ...], ...]:
    found: list[tuple[int, ...]] = []
    for index, part in enumerate(_java_split(text, ",")):
        try:
            brokers = tuple(integer(broker.strip()) for broker in _java_split(part, ":"))
        except ValueError as error:
            raise Refused(f'For input string: "{error.args[0]}"', "java.lang.NumberFormatException") from error
        twice = list(dict.fromkeys(broker for broker in brokers if brokers.count(broker) > 1))
        if twice:
            raise Refused(
                f"Partition replica lists may not contain duplicate entries: {','.join(map(str, twice))}",
                "org.apache.kafka.tools.AdminCommandFailedException",
            )
        found.append(brokers)
        if len(brokers) != len(found[0]):
            raise Refused(
                f"Partition {index} has different replication factor: {list(brokers)}",
                "org.apache.kafka.tools.AdminOperationException",
            )
    return tuple(found)


def _settings(texts: list[str]) -> dict[str, str]:
    pairs = [_java_split(text, r"\s*=\s*") for text in texts]
    if any(len(pair) != 2 for pair in pairs):
        raise Refused(
            'requirement failed: Invalid topic config: all configs to be added must be in the format "key=val".'
        )
    return {name.strip(): value.strip() for name, value in pairs}


def _java_split(text: str, pattern: str) -> list[str]:
    """Split as Java does: empty parts at the end are none."""
    parts = re.split(pattern, text)
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    return parts


# Descriptions.


def _describe(client: Admin, options: Options) -> None:
    from ottla.admin import Resource, ResourceType
    from ottla.admin import required as required_outcome

    names = _by_id(client, options) if _uses_id(options) else _existing(client, options)
    if not names:
        return
    topics = {name: required_outcome(outcome) for name, outcome in client.describe_topics(names).items()}
    resources = {name: Resource(ResourceType.TOPIC, name) for name in names}
    settings = client.describe_configs(resources.values())
    up = {broker.broker_id for broker in client.describe_cluster().brokers}
    for name, topic in topics.items():
        _print(topic, required_outcome(settings[resources[name]]), options, up)


def _print(topic: Topic, settings: tuple[ConfigEntry, ...], options: Options, up: set[int]) -> None:
    from ottla.admin import ConfigSource

    reported = [report for report in REPORTS if options.has(report)]
    own = [entry for entry in settings if entry.source is not ConfigSource.DEFAULT_CONFIG]
    if not reported and (own or not options.has("topics-with-overrides")):
        parts = [f"Topic: {topic.name}"]
        if topic.topic_id is not None:
            parts.append(f"TopicId: {topic.topic_id}")
        parts += [
            f"PartitionCount: {len(topic.partitions)}",
            f"ReplicationFactor: {len(topic.partitions[0].replicas) if topic.partitions else 0}",
            f"Configs: {','.join(f'{entry.name}={entry.value}' for entry in own)}",
        ]
        say("\t".join(parts))
    if options.has("topics-with-overrides"):
        return
    least = next((int(entry.value or 1) for entry in settings if entry.name == "min.insync.replicas"), 1)
    for partition in topic.partitions:
        if not reported or any(_reports(report, partition, least, up) for report in reported):
            say(_line(topic.name, partition))


def _reports(report: str, partition: Partition, least: int, up: set[int]) -> bool:
    if report == "under-replicated-partitions":
        return len(partition.isr) < len(partition.replicas)
    if report == "unavailable-partitions":
        return partition.leader is None or partition.leader not in up
    if report == "under-min-isr-partitions":
        return partition.leader is None or len(partition.isr) < least
    return len(partition.isr) == least


def _line(name: str, partition: Partition) -> str:
    parts = [
        f"Topic: {name}",
        f"Partition: {partition.index}",
        f"Leader: {'none' if partition.leader is None else partition.leader}",
        f"Replicas: {_ids(partition.replicas)}",
        f"Isr: {_ids(partition.isr)}",
        f"Elr: {'N/A' if partition.eligible_leaders is None else _ids(partition.eligible_leaders)}",
        "LastKnownElr: "
        + ("N/A" if partition.last_known_eligible_leaders is None else _ids(partition.last_known_eligible_leaders)),
    ]
    return "".join(f"\t{part}" for part in parts)


def _ids(brokers: Iterable[int]) -> str:
    return ",".join(map(str, brokers))


ZERO_ID = "A" * 22


def _uses_id(options: Options) -> bool:
    return options.has("topic-id") and _topic_id(options.value("topic-id")) != ZERO_ID


def _by_id(client: Admin, options: Options) -> list[str]:
    wanted = _topic_id(options.value("topic-id"))
    names = [
        topic.name
        for topic in client.list_topics()
        if topic.topic_id == wanted and not (topic.internal and options.has("exclude-internal"))
    ]
    if not names and not options.has("if-exists"):
        raise Refused(f"TopicId '{wanted}' does not exist as expected")
    return names


def _topic_id(text: str) -> str:
    import base64

    if len(text) > 24:
        raise Refused(f"Input string with prefix `{text[:24]}` is too long to be decoded as a base64 UUID")
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise Refused(f"Input string `{text}` is no base64-encoded UUID") from error
    if len(content) != 16:
        raise Refused(
            f"Input string `{text}` decoded as {len(content)} bytes, which is not equal to the expected 16 bytes of a "
            "base64-encoded UUID"
        )
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
