"""`kafka-log-dirs`: what lies in the log directories of brokers, as JSON.

Kafka: org.apache.kafka.tools.LogDirsCommand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ottla.cli.kafka import words
from ottla.cli.kafka.connection import NoFile, admin, command_config
from ottla.cli.kafka.options import Option, OptionError, OptionParser, integer
from ottla.cli.kafka.usage import complain, help_or_version, required, say
from ottla.errors import OttlaError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ottla.admin import Admin, LogDir

PARSER = OptionParser(
    Option("bootstrap-server", "Where the cluster is found. Needed.", "server(s) to use for bootstrapping"),
    Option("command-config", "A file of client settings.", "Admin client property file"),
    Option("describe", "Describe the log directories. Needed."),
    Option("topic-list", "Only these topics, separated by commas.", "Topic list", default=""),
    Option("broker-list", "Only these brokers, separated by commas.", "Broker list", default=""),
)


def run(arguments: Sequence[str]) -> int:
    """Run the tool."""
    try:
        options = PARSER.parse(arguments)
        help_or_version(options, "This tool helps to query log directory usage on the specified brokers.")
        required(options, "bootstrap-server", "describe")
        topics = [name for name in options.value("topic-list").split(",") if name]
        wanted = [integer(number) for number in options.value("broker-list").split(",") if number]
        with admin(options.value("bootstrap-server"), command_config(options), client_id="kafka-log-dirs") as client:
            return _print(client, topics, wanted)
    except ValueError as error:
        complain(f'For input string: "{error}"', f'java.lang.NumberFormatException: For input string: "{error}"')
    except OptionError as error:
        complain(str(error), f"{error.kind}: {error}")
    except NoFile as error:
        complain(str(error), f"java.nio.file.NoSuchFileException: {error}")
    except OttlaError as error:
        complain(words.message(error), words.exception(error))
    return 1


def _print(client: Admin, topics: list[str], wanted: list[int]) -> int:
    there = [broker.broker_id for broker in client.describe_cluster().brokers]
    absent = [broker for broker in wanted if broker not in there]
    if absent:
        complain(
            f"ERROR: The given brokers do not exist from --broker-list: {','.join(map(str, absent))}. "
            f"Current existent brokers: {','.join(map(str, there))}"
        )
        return 1
    brokers = list(dict.fromkeys(wanted)) or there
    say("Querying brokers for log directories information")
    found = client.describe_log_dirs(brokers)
    say(f"Received log directory information from brokers {','.join(map(str, brokers))}", _json(brokers, found, topics))
    return 0


def _json(brokers: list[int], found: list[LogDir], topics: list[str]) -> str:
    import msgspec

    by_broker: dict[int, list[Any]] = {broker: [] for broker in brokers}
    for directory in found:
        by_broker[directory.broker_id].append(
            {
                "partitions": [
                    {
                        "partition": f"{replica.topic}-{replica.partition}",
                        "size": replica.size_bytes,
                        "offsetLag": replica.offset_lag,
                        "isFuture": replica.is_future,
                    }
                    for replica in sorted(directory.replicas, key=lambda replica: (replica.topic, replica.partition))
                    if not topics or replica.topic in topics
                ],
                "error": directory.error,
                "logDir": directory.path,
            }
        )
    rows = [{"broker": broker, "logDirs": directories} for broker, directories in by_broker.items()]
    return msgspec.json.encode({"brokers": rows, "version": 1}).decode()
