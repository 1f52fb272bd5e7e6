"""`kafka-cluster`: the id of a cluster and its brokers.

Kafka: org.apache.kafka.tools.ClusterTool, whose words are read by argparse4j. Taking a broker out of the cluster
(`unregister`) is for clusters of several: a node of Ottla is its own cluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.cli.kafka import words
from ottla.cli.kafka.arguments import Arguments
from ottla.cli.kafka.connection import NoFile, admin, properties_of
from ottla.cli.kafka.usage import complain, say
from ottla.errors import OttlaError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Run the tool."""
    parser = Arguments("kafka-cluster", "The id and the brokers of a cluster.", help_code=1)
    for name, said in (
        ("cluster-id", "Print the id of the cluster."),
        ("unregister", "Take a broker out of the cluster."),
        ("list-endpoints", "Print the brokers."),
    ):
        command = parser.command(name, said)
        command.add_argument("--config", "-c", help="Older name of --command-config.")
        command.add_argument("--command-config", help="A file of client settings.")
        if name == "unregister":
            command.add_argument("--id", "-i", type=int, required=True, help="Number of the broker.")
        if name == "list-endpoints":
            command.add_argument("--include-fenced-brokers", action="store_true", help="Accepted.")
        where = command.add_mutually_exclusive_group(required=True)
        where.add_argument("--bootstrap-server", "-b", help="Where the cluster is found.")
        where.add_argument("--bootstrap-controller", "-C", help="Accepted instead.")
    return _run(parser.parse(arguments))


def _run(told: Namespace) -> int:
    if told.command == "unregister":
        complain("unregister: a node of Ottla is its own cluster, there is no broker to take out (UnregisterBroker)")
        return 1
    try:
        path = told.command_config or told.config
        settings = properties_of(path) if path else {}
        with admin(told.bootstrap_server or told.bootstrap_controller, settings, client_id="kafka-cluster") as client:
            cluster = client.describe_cluster()
    except NoFile as error:
        complain(str(error), f"java.nio.file.NoSuchFileException: {error}")
        return 1
    except OttlaError as error:
        said = words.exception(error)
        complain(said, f"java.util.concurrent.ExecutionException: {said}")
        return 1
    if told.command == "cluster-id":
        if cluster.cluster_id is None:
            say("No cluster ID found. The Kafka version is probably too old.")
        else:
            say(f"Cluster ID: {cluster.cluster_id}")
        return 0
    width = max([10, *(len(broker.host) for broker in cluster.brokers)]) if cluster.brokers else 10
    host_width = max(len(broker.host) for broker in cluster.brokers) if cluster.brokers else width
    say(f"{'ID':<10} {'HOST':<{host_width}} {'PORT':<10} {'RACK':<10} {'STATE':<10} {'ENDPOINT_TYPE':<15}")
    for broker in cluster.brokers:
        rack = "null" if broker.rack is None else broker.rack
        say(
            f"{broker.broker_id:<10} {broker.host:<{host_width}} {broker.port:<10} {rack:<10} {'unfenced':<10} "
            f"{'broker':<15}"
        )
    return 0
