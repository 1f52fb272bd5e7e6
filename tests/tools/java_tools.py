"""Kafka's own tools with the face of ours, for what both say."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from tests.kafka.tool_runner import ToolRunner
from tests.tools.transcript import Ran

CONFIGURED = f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')}"
CLASSES = {
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-storage": "kafka.tools.StorageTool",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "kafka-log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "kafka-cluster": "org.apache.kafka.tools.ClusterTool",
}


class JavaTools:
    """Kafka's tools by the names of their scripts."""

    def __enter__(self) -> Self:
        self._runner = ToolRunner(CONFIGURED)
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()

    def run(self, tool: str, arguments: list[str], stdin: bytes) -> Ran:
        """Run one tool to its end."""
        return Ran(*self._runner.run(CLASSES[tool], arguments, stdin))
