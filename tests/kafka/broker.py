"""Apache Kafka as one process: a KRaft node that is broker and controller, with the server's own defaults but for what
one node needs.

Formatting costs a JVM start, so it is done once per machine; every broker starts on a copy of that directory.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.kafka import jars
from tests.processes import Process, free_port, write_properties

CLUSTER_ID = "b3R0bGEtcmVmZXJlbmNlLQ"
# A lone node cannot keep three replicas; everything else is the default of the server.
SINGLE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}
TEST_JVM = ("-Xms256M", "-Xmx512M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# What bin/kafka-server-start.sh and kafka-run-class.sh give the server.
SERVER_JVM = (
    *(
        "-server",
        "-Xms1G",
        "-Xmx1G",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=20",
        "-XX:InitiatingHeapOccupancyPercent=35",
    ),
    *("-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true"),
)


class KafkaProcess(Process):
    """One Apache Kafka broker."""

    name = "kafka"
    # What a JVM ends with on SIGTERM.
    clean_codes = (0, 143)

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        jvm: Sequence[str] = TEST_JVM,
        log_level: str = "WARN",
    ) -> None:
        super().__init__(folder, settings)
        self.controller_port = free_port()
        self.jvm = tuple(jvm)
        self.log_level = log_level

    def properties(self) -> dict[str, str]:
        controller = f"{self.host}:{self.controller_port}"
        return {
            **SINGLE_NODE,
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "log.dirs": str(self.data_dir),
            **{name: value for name, value in self.settings.items() if not name.startswith("ottla.")},
        }

    def command(self) -> list[str]:
        if not self.data_dir.exists():
            shutil.copytree(formatted_directory(), self.data_dir)
        config = self.folder / "server.properties"
        write_properties(config, self.properties())
        # log4j's default configuration writes to the console at this level.
        level = f"-Dorg.apache.logging.log4j.level={self.log_level}"
        return ["java", *self.jvm, level, "-cp", jars.classpath(), "kafka.Kafka", str(config)]


def formatted_directory() -> Path:
    """A data directory as `kafka-storage.sh format` leaves it, made once and copied from then on."""
    kept = jars.CACHE / f"formatted-{jars.VERSION}"
    if not kept.exists():
        jars.CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=jars.CACHE) as scratch:
            folder = Path(scratch) / "data"
            config = Path(scratch) / "server.properties"
            quorum = {"controller.quorum.voters": "1@127.0.0.1:1", "listeners": "PLAINTEXT://:0,CONTROLLER://:1"}
            write_properties(config, {**SINGLE_NODE, **quorum, "log.dirs": str(folder)})
            tool = jars.java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(config))
            # With this feature the first start sets min.insync.replicas as a dynamic setting, as if a person had.
            tool += ["--feature", "eligible.leader.replicas.version=0"]
            subprocess.run(tool, check=True, timeout=120, capture_output=True)
            if not kept.exists():
                folder.rename(kept)
    return kept
