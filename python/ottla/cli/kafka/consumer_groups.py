"""`kafka-consumer-groups`: list, describe, delete and reset groups of consumers.

Kafka: org.apache.kafka.tools.consumer.group.ConsumerGroupCommand. What goes wrong while a command runs is an Error on
stdout and exit code 0, as there: only wrong flags end with 1. Groups and partitions come in order, where Kafka's have
none. `group_tables` prints descriptions, `reset_offsets` has --reset-offsets.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ottla.cli.kafka import words
from ottla.cli.kafka.connection import NoFile, admin, command_config
from ottla.cli.kafka.options import Option, OptionError, OptionParser, Options, integer
from ottla.cli.kafka.usage import complain, help_or_version, not_with, required, say, usage_and_exit
from ottla.errors import ErrorCode, InvalidInput, OttlaError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ottla.admin import Admin, GroupListing, TopicPartition

ACTIONS = ("list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex")
# Kafka prints these sets in the order of its hash tables.
STATES = ("Reconciling", "PreparingRebalance", "Stable", "Dead", "Empty", "CompletingRebalance", "Assigning")
TYPES = ("Consumer", "Classic")
SCENARIOS = (
    *("to-latest", "by-duration", "to-datetime", "from-file", "shift-by", "to-offset", "to-earliest", "to-current"),
)
GROUP_COLUMN = 15
# --delete-offsets: errors that concern all of the group, and those of single partitions.
OF_THE_GROUP = {
    ErrorCode.GROUP_AUTHORIZATION_FAILED,
    ErrorCode.GROUP_ID_NOT_FOUND,
    ErrorCode.INVALID_GROUP_ID,
    ErrorCode.NON_EMPTY_GROUP,
}
OF_A_PARTITION = {
    ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC,
    ErrorCode.TOPIC_AUTHORIZATION_FAILED,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
}

PARSER = OptionParser(
    Option("bootstrap-server", "Where the cluster is found. Needed but for --validate-regex.", "server to connect to"),
    Option("group", "The group, as often as needed.", "consumer group"),
    Option("topic", "With --reset-offsets, --delete-offsets: a topic, or topic:0,1,2; as often as needed.", "topic"),
    Option("all-topics", "With --reset-offsets: every topic the group has committed for."),
    Option("list", "List the groups."),
    Option("describe", "Show where groups are and how far behind."),
    Option("all-groups", "Every group."),
    Option("delete", "Delete groups without members."),
    Option("timeout", "How long a command may take.", "timeout (ms)", "Long", default=30000),
    Option("command-config", "A file of client settings.", "command config property file"),
    Option("reset-offsets", "Set what groups without members have committed; --execute does it."),
    Option("delete-offsets", "Forget what a group has committed for topics nobody in it reads."),
    Option("dry-run", "With --reset-offsets: show what would be."),
    Option("execute", "With --reset-offsets: do it."),
    Option("export", "With --reset-offsets: print CSV for --from-file."),
    Option("to-offset", "To this offset.", "offset", "Long"),
    Option("from-file", "To what a CSV file says: topic,partition,offset or group,topic,...", "path to CSV file"),
    Option("to-datetime", "To the first record since then: YYYY-MM-DDThh:mm:ss.sss, UTC or with a zone.", "datetime"),
    Option("by-duration", "To the first record since so long ago: PnDTnHnMnS.", "duration"),
    Option("to-earliest", "To the first record."),
    Option("to-latest", "To the end."),
    Option("to-current", "To what is committed; to the end where nothing is."),
    Option("shift-by", "So many records on, or back with a minus.", "number-of-offsets", "Long"),
    Option("members", "With --describe: the members.", only_with=("describe",)),
    Option("verbose", "With --describe: more columns.", only_with=("describe",)),
    Option("offsets", "With --describe: partitions and lag, which is what it shows anyway.", only_with=("describe",)),
    Option(
        "state",
        "With --describe: the state. With --list: states, or only groups in these.",
        "",
        optional=True,
        only_with=("describe", "list"),
    ),
    Option(
        "type",
        "With --list: types, or only groups of these (classic, consumer).",
        "",
        optional=True,
        only_with=("list",),
    ),
    Option("validate-regex", "Tell whether a regular expression can be subscribed to.", "regex"),
)


class Failed(Exception):
    """The command cannot go on; `kind` is the exception Kafka's tool would print."""

    def __init__(self, sentence: str, kind: str) -> None:
        super().__init__(sentence)
        self.kind = kind


class WrongUse(Exception):
    """What was asked for makes no sense: the sentence and the help page."""


def run(arguments: Sequence[str]) -> int:
    """Run the tool."""
    try:
        options = PARSER.parse(arguments)
    except OptionError as error:
        complain(f'Exception in thread "main" {error.kind}: {error}')
        return 1
    _check(options)
    if sum(options.has(action) for action in ACTIONS) != 1:
        usage_and_exit(
            PARSER,
            f"Command must include exactly one action: {', '.join(f'--{action}' for action in ACTIONS)}",
        )
    try:
        _act(options)
    except WrongUse as error:
        usage_and_exit(PARSER, str(error))
    except Failed as error:
        print_failure(str(error), f"{error.kind}: {error}")
    except OptionError as error:
        print_failure(str(error), f"{error.kind}: {error}")
    except NoFile as error:
        print_failure(f"java.nio.file.NoSuchFileException: {error}", f"java.nio.file.NoSuchFileException: {error}")
    except OttlaError as error:
        said = words.exception(error)
        print_failure(said, f"java.util.concurrent.ExecutionException: {said}")
    return 0


def print_error(sentence: str) -> None:
    """Print what went wrong, on stdout as Kafka's tool does."""
    say("", f"Error: {sentence}")


def print_failure(sentence: str, exception: str) -> None:
    """Print what ended the command."""
    print_error(f"Executing consumer group command failed due to {sentence}")
    complain(exception)


def _act(options: Options) -> None:
    if options.has("validate-regex"):
        _validate(options.value("validate-regex"))
        return
    timeout_ms = options.value("timeout")
    try:
        client = admin(
            options.value("bootstrap-server"),
            command_config(options),
            client_id="kafka-consumer-groups",
            timeout_ms=timeout_ms if options.has("timeout") else None,
        )
    except InvalidInput as error:
        raise Failed("Failed to create new KafkaAdminClient", "org.apache.kafka.common.KafkaException") from error
    with client:
        if options.has("list"):
            _list(client, options)
        elif options.has("describe"):
            from ottla.cli.kafka import group_tables

            group_tables.describe(client, options, _chosen(client, options))
        elif options.has("delete"):
            _delete(client, _chosen(client, options))
        elif options.has("reset-offsets"):
            from ottla.cli.kafka import reset_offsets

            reset_offsets.reset(client, options, _chosen(client, options))
        else:
            _delete_offsets(client, options)


def _check(options: Options) -> None:
    help_or_version(
        options,
        "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset "
        "consumer group offsets.",
    )
    if not options.has("validate-regex"):
        required(options, "bootstrap-server")
    named = options.has("group") or options.has("all-groups")
    if options.has("describe"):
        _needs_groups(named, "describe")
        if sum(options.has(name) for name in ("members", "offsets", "state")) > 1:
            usage_and_exit(
                PARSER, "Option [describe] takes at most one of these options: [members], [offsets], [state]"
            )
        if options.has("state") and options.value("state") is not None:
            usage_and_exit(PARSER, "Option [describe] does not take a value for [state]")
    if options.has("delete"):
        _needs_groups(named, "delete")
        if options.has("topic"):
            usage_and_exit(
                PARSER, "The consumer does not support topic-specific offset deletion from a consumer group."
            )
    if options.has("delete-offsets") and not (options.has("group") and options.has("topic")):
        usage_and_exit(PARSER, "Option [delete-offsets] takes the following options: [topic], [group]")
    if options.has("reset-offsets"):
        if options.has("dry-run") and options.has("execute"):
            usage_and_exit(PARSER, "Option [reset-offsets] only accepts one of [execute] and [dry-run]")
        if not options.has("dry-run") and not options.has("execute"):
            complain(
                "WARN: No action will be performed as the --execute option is missing. In version 5.0, this command "
                "will require either --dry-run or --execute to be specified. You should add the --dry-run option "
                "explicitly if you are scripting this command and want to keep the current default behavior without "
                "prompting."
            )
        _needs_groups(named, "reset-offsets")
        for scenario in (
            "to-offset",
            "to-datetime",
            "by-duration",
            "to-earliest",
            "to-latest",
            "to-current",
            "shift-by",
        ):
            not_with(options, scenario, (other for other in SCENARIOS if other != scenario))
        not_with(options, "from-file", (other for other in SCENARIOS if other != "from-file"))
    not_with(options, "group", ("all-groups",))
    not_with(options, "group", ("list",))
    not_with(options, "topic", ("list", "describe"))


def _needs_groups(named: bool, action: str) -> None:
    if not named:
        usage_and_exit(PARSER, f"Option [{action}] takes one of these options: [all-groups], [group]")


def _chosen(client: Admin, options: Options) -> list[str]:
    if options.has("all-groups"):
        return [group.group_id for group in _consumers(client.list_groups())]
    return list(dict.fromkeys(options.values("group")))


def _consumers(groups: list[GroupListing]) -> list[GroupListing]:
    # A group without a protocol is one of commits alone.
    return [group for group in groups if group.protocol_type in ("consumer", "")]


def _validate(regex: str) -> None:
    try:
        re.compile(regex)
    except re.error as error:
        say(f"The regular expression `{regex}` is invalid: {error}.")
    else:
        say(f"The regular expression `{regex}` is valid.")


def _list(client: Admin, options: Options) -> None:
    with_type, with_state = options.has("type"), options.has("state")
    types = _words_of(options.value("type"), TYPES, "types list") if with_type else ()
    states = _words_of(options.value("state"), STATES, "state list") if with_state else ()
    groups = _consumers(client.list_groups(states=states, types=types))
    if not with_type and not with_state:
        for group in groups:
            say(group.group_id)
        return
    width = max([GROUP_COLUMN, *(len(group.group_id) for group in groups)]) + 10
    rows = [("GROUP", "TYPE", "STATE")]
    rows += [(group.group_id, (group.type or "Unknown").capitalize(), group.state or "Unknown") for group in groups]
    for name, kind, state in rows:
        say(f"{name:<{width}}" + (f" {kind:<20}" if with_type else "") + (f" {state:<20}" if with_state else ""))


def _words_of(text: str | None, allowed: tuple[str, ...], name: str) -> list[str]:
    if not text:
        return []
    known = {word.lower(): word for word in allowed}
    given = [word.strip().lower() for word in text.split(",")]
    if any(word not in known for word in given):
        valid = "states" if "state" in name else "types"
        raise WrongUse(f"Invalid {name} '{text}'. Valid {valid} are: {', '.join(allowed)}")
    return [known[word] for word in dict.fromkeys(given)]


def _delete(client: Admin, groups: list[str]) -> None:
    outcomes = client.delete_groups(groups)
    deleted = [group for group, error in outcomes.items() if error is None]
    quoted = ", ".join(f"'{group}'" for group in deleted)
    if len(deleted) == len(outcomes):
        say(f"Deletion of requested consumer groups ({quoted}) was successful.")
        return
    print_error("Deletion of some consumer groups failed:")
    for group, error in outcomes.items():
        if error is not None:
            say(f"* Group '{group}' could not be deleted due to: {words.exception(error)}")
    if deleted:
        say("", f"These consumer groups were deleted successfully: {quoted}")


def _delete_offsets(client: Admin, options: Options) -> None:
    group = options.value("group")
    rows: dict[TopicPartition, RequestError | None] = {}
    places = partitions_of(client, options.values("topic"), rows)
    rows |= client.delete_group_offsets(group, places) if places else {}
    refused = [error for place in places if (error := rows[place]) is not None]
    of_group = next((error for error in refused if error.code in OF_THE_GROUP), None)
    if of_group is not None:
        print_error(words.message(of_group))
    elif all(error.code in OF_A_PARTITION for error in refused):
        if refused:
            print_error("Encountered some partition-level error, see the follow-up details.")
        else:
            say(f"Request succeeded for deleting offsets from group {group}.")
    else:
        print_error(f"Encountered some unknown error: {refused[0].code.name}")
    _print_deleted(rows)


def _print_deleted(rows: Mapping[TopicPartition, RequestError | None]) -> None:
    width = max([GROUP_COLUMN, *(len(place.topic) for place in rows)])
    say("", f"{'TOPIC':<{width}} {'PARTITION':<10} {'STATUS':<15}")
    for place, error in sorted(rows.items(), key=lambda row: f"{row[0].topic}{row[0].partition}"):
        partition = str(place.partition) if place.partition >= 0 else "-"
        status = "Successful" if error is None else f"Error: {words.exception(error)}"
        say(f"{place.topic:<{width}} {partition:<10} {status:<15}")


def partitions_of(
    client: Admin, topics: list[str], refused: dict[TopicPartition, RequestError | None] | None = None
) -> list[TopicPartition]:
    """Read `topic` and `topic:0,1,2`. A topic that cannot be described goes into `refused`, or raises without it."""
    from ottla.admin import TopicPartition

    places: list[TopicPartition] = []
    whole = [topic for topic in topics if ":" not in topic]
    for text in topics:
        if ":" in text:
            name, _, numbers = text.partition(":")
            if not numbers or ":" in numbers:
                raise WrongUse(f"Invalid topic arg '{text}', expected topic name and partitions")
            for number in numbers.split(","):
                try:
                    places.append(TopicPartition(name, integer(number)))
                except ValueError as error:
                    raise WrongUse(f"Invalid partition '{number}' specified in topic arg '{text}''") from error
    for name, found in client.describe_topics(whole).items():
        if isinstance(found, RequestError):
            if refused is None:
                raise found
            refused[TopicPartition(name, -1)] = found
        else:
            places += [TopicPartition(name, partition.index) for partition in found.partitions]
    return list(dict.fromkeys(places))
