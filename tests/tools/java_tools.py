"""Kafka's own tools, one after the other in one JVM (tests/tools/java/ToolRunner.java): a start of each costs 1.6 s."""

from __future__ import annotations

import base64
import select
import subprocess
from pathlib import Path
from typing import Self

from tests.kafka import jars
from tests.tools.transcript import Ran

JAVA = Path(__file__).with_name("java")
TIMEOUT_S = 60
CONFIGURED = f"-Dlog4j2.configurationFile={JAVA / 'log4j2.properties'}"
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
    """Kafka's tools as `ToolRunner` runs them."""

    def __enter__(self) -> Self:
        self._start()
        return self

    def _start(self) -> None:
        command = jars.java(CONFIGURED, str(JAVA / "ToolRunner.java"))
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        # Threads of tools that ended in the middle of something may still be there.
        self._process.kill()
        self._process.wait()

    def run(self, tool: str, arguments: list[str], stdin: bytes) -> Ran:
        """Run one tool to its end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        words = [CLASSES[tool].encode(), stdin, *(argument.encode() for argument in arguments)]
        self._process.stdin.write(" ".join(base64.b64encode(word).decode() for word in words) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], TIMEOUT_S)
        assert ready, f"{tool} {' '.join(arguments)} has not ended in {TIMEOUT_S} s"
        answer = self._process.stdout.readline()
        if not answer:
            # The parser of some tools ends the JVM without asking Kafka's `Exit`.
            self.__exit__()
            self._start()
            command = jars.java(CONFIGURED, CLASSES[tool], *arguments)
            alone = subprocess.run(command, input=stdin, capture_output=True, timeout=TIMEOUT_S, check=False)
            return Ran(alone.returncode, alone.stdout.decode(), alone.stderr.decode())
        code, out, err = answer.rstrip("\n").split(" ")
        return Ran(int(code), *(base64.b64decode(text).decode(errors="replace") for text in (out, err)))
