"""`kafka-broker-api-versions`: the APIs each broker serves, and the version the client would use.

Kafka: org.apache.kafka.tools.BrokerApiVersionsCommand. "usable" is what Kafka 4.3.1's client would choose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.cli.kafka import words
from ottla.cli.kafka.client_versions import CLIENT_APIS
from ottla.cli.kafka.connection import NoFile, admin, command_config
from ottla.cli.kafka.options import Option, OptionError, OptionParser
from ottla.cli.kafka.usage import complain, help_or_version, required, say
from ottla.errors import OttlaError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ottla.admin import VersionRange

PARSER = OptionParser(
    Option("bootstrap-server", "Where the cluster is found. Needed.", "server(s) to use for bootstrapping"),
    Option("command-config", "A file of client settings.", "command config property file path"),
)


def run(arguments: Sequence[str]) -> int:
    """Run the tool."""
    try:
        options = PARSER.parse(arguments)
        help_or_version(options, "This tool helps to retrieve broker version information.")
        required(options, "bootstrap-server")
        server = options.value("bootstrap-server")
        with admin(server, command_config(options), client_id="kafka-broker-api-versions") as client:
            for broker in client.describe_cluster().brokers:
                rack = "null" if broker.rack is None else broker.rack
                say(f"{broker.address} (id: {broker.broker_id} rack: {rack} isFenced: false) -> (")
                say(",\n".join(lines(client.api_versions(broker.broker_id))))
                say(")")
    except OptionError as error:
        complain(str(error), f"{error.kind}: {error}")
        return 1
    except NoFile as error:
        complain(str(error), f"java.nio.file.NoSuchFileException: {error}")
        return 1
    except OttlaError as error:
        complain(words.message(error), words.exception(error))
        return 1
    return 0


def lines(served: Mapping[int, VersionRange]) -> list[str]:
    """Give a line for each API the client or the broker knows, by key."""
    found = []
    for key in sorted({*CLIENT_APIS, *served}):
        name, low, high = CLIENT_APIS.get(key, ("UNKNOWN", 0, -1))
        front = f"\t{name}({key}): "
        if key not in served:
            found.append(f"{front}UNSUPPORTED")
            continue
        versions = served[key]
        text = str(versions.lowest)
        if versions.highest != versions.lowest:
            text += f" to {versions.highest}"
        usable = min(high, versions.highest)
        says = f"usable: {usable}" if usable >= max(low, versions.lowest) else "unusable: node too new"
        if key in CLIENT_APIS and versions.highest < low:
            says = "unusable: node too old"
        found.append(f"{front}{text} [{says}]")
    return found
