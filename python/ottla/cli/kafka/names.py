"""The names under which Kafka's tools are commands of `ottla`, and scripts of `ottla install-tools`."""

from __future__ import annotations

from ottla.cli.lazy import Lazy

TOOLS = {
    "kafka-topics": Lazy("ottla.cli.kafka.door:topics", "List, create, describe, change and delete topics."),
    "kafka-console-producer": Lazy("ottla.cli.kafka.door:console_producer", "Send lines of stdin."),
    "kafka-console-consumer": Lazy("ottla.cli.kafka.door:console_consumer", "Print records."),
    "kafka-consumer-groups": Lazy("ottla.cli.kafka.door:consumer_groups", "List, describe, reset and delete groups."),
    "kafka-transactions": Lazy("ottla.cli.kafka.door:transactions", "List, describe and end transactions."),
    "kafka-configs": Lazy("ottla.cli.kafka.door:configs", "Show and change settings."),
    "kafka-storage": Lazy("ottla.cli.kafka.door:storage", "Make ids of clusters and format data directories."),
    "kafka-server-start": Lazy("ottla.cli.kafka.door:server_start", "Run a broker with a server.properties."),
    "kafka-server-stop": Lazy("ottla.cli.kafka.door:server_stop", "Stop the brokers kafka-server-start has started."),
    "kafka-get-offsets": Lazy("ottla.cli.kafka.door:get_offsets", "Print offsets of partitions."),
    "kafka-delete-records": Lazy("ottla.cli.kafka.door:delete_records", "Delete the records before given offsets."),
    "kafka-log-dirs": Lazy("ottla.cli.kafka.door:log_dirs", "Print the sizes of partitions on disk."),
    "kafka-broker-api-versions": Lazy("ottla.cli.kafka.door:broker_api_versions", "Print the APIs each broker serves."),
    "kafka-cluster": Lazy("ottla.cli.kafka.door:cluster", "Print the id and the brokers of a cluster."),
}
