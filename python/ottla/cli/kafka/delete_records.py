"""`kafka-delete-records`: delete the records before offsets that a JSON file names.

Kafka: org.apache.kafka.tools.DeleteRecordsCommand.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ottla.cli.kafka import words
from ottla.cli.kafka.connection import NoFile, admin, command_config
from ottla.cli.kafka.options import INT_MAX, LONG_MAX, Option, OptionError, OptionParser
from ottla.cli.kafka.usage import complain, help_or_version, required, say
from ottla.errors import InvalidInput, OttlaError, RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ottla.admin import TopicPartition

PARSER = OptionParser(
    Option("bootstrap-server", "Where the cluster is found. Needed.", "server(s) to use for bootstrapping"),
    Option(
        "offset-json-file",
        'The file, needed: {"partitions": [{"topic": "foo", "partition": 1, "offset": 1}], "version": 1}. The offset '
        "is the first that stays; -1 deletes all there is.",
        "Offset json file path",
    ),
    Option("command-config", "A file of client settings.", "command config property file path"),
)


class Refused(Exception):
    """The file cannot be used; `kind` is the exception Kafka's tool would print."""

    def __init__(self, sentence: str, kind: str = "org.apache.kafka.tools.AdminOperationException") -> None:
        super().__init__(sentence)
        self.kind = kind


def run(arguments: Sequence[str]) -> int:
    """Run the tool."""
    try:
        options = PARSER.parse(arguments)
        help_or_version(
            options, "This tool helps to delete records of the given partitions down to the specified offset."
        )
        required(options, "bootstrap-server", "offset-json-file")
        client = admin(options.value("bootstrap-server"), command_config(options), client_id="kafka-delete-records")
        with client:
            before = _read(options.value("offset-json-file"))
            say("Executing records delete operation")
            outcomes = client.delete_records(before) if before else {}
    except (OptionError, Refused) as error:
        complain(str(error), f"{error.kind}: {error}")
        return 1
    except NoFile as error:
        complain(str(error), f"java.nio.file.NoSuchFileException: {error}")
        return 1
    except InvalidInput as error:
        if isinstance(error, RequestError):
            complain(words.message(error), words.exception(error))
        else:
            complain("Failed to create new KafkaAdminClient", words.exception(error))
        return 1
    except OttlaError as error:
        complain(words.message(error), words.exception(error))
        return 1
    say("Records delete operation completed:")
    for place, outcome in outcomes.items():
        if isinstance(outcome, RequestError):
            say(f"partition: {place}\terror: {words.exception(outcome)}")
        else:
            say(f"partition: {place}\tlow_watermark: {outcome}")
    return 0


def _read(path: str) -> dict[TopicPartition, int]:
    import msgspec

    from ottla.admin import TopicPartition

    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise Refused(f"Unable to read file {path}", "java.io.IOException") from error
    try:
        told = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused("The input string is not a valid JSON") from error
    if not isinstance(told, dict):
        raise Refused("The input string is not a valid JSON")
    if told.get("version", 1) != 1:
        raise Refused(f"Not supported version field value {told['version']}")
    if "partitions" not in told:
        raise Refused("Missing partitions field")
    rows = told["partitions"]
    if not isinstance(rows, list):
        raise Refused("partitions is no list")
    found: dict[TopicPartition, int] = {}
    twice: list[TopicPartition] = []
    for row in rows:
        if not isinstance(row, dict):
            raise Refused(f"partitions: {msgspec.json.encode(row).decode()} is no object")
        topic = row.get("topic")
        if not isinstance(topic, str):
            raise Refused("partitions: each has a topic, which is text")
        place = TopicPartition(topic, _number(row, "partition", 0, INT_MAX))
        if place in found:
            twice.append(place)
        found[place] = _number(row, "offset", -1, LONG_MAX)
    if twice:
        raise Refused(
            f"Offset json file contains duplicate topic partitions: {','.join(map(str, dict.fromkeys(twice)))}",
            "org.apache.kafka.tools.AdminCommandFailedException",
        )
    return found


def _number(row: dict[str, Any], name: str, least: int, most: int) -> int:
    value = row.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Refused(f"partitions: each has a {name}, a whole number from {least}")
    return value
