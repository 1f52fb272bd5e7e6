"""`python -m tests.clients.consumer_process`: a consumer as a process of its own, for groups whose members are killed.

It commits what it has read before it says so, one JSON line per event on stdout: what it owns whenever that changes,
what it has to give up, and each record. It leaves the group on SIGTERM.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import kafka
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor

from tests.clients.drivers import QUIET, KafkaPythonConsumer, LibrdkafkaConsumer
from tests.clients.records import WAIT_S, Consumer

ROOT = Path(__file__).parent.parent.parent
ASSIGNORS = {"range": RangePartitionAssignor, "cooperative-sticky": CooperativeStickyAssignor}
Revoked = Callable[[frozenset[int]], None]


@dataclass(frozen=True)
class Options:
    """How a consumer takes part in its group."""

    strategy: str = "range"
    session_timeout_ms: int = 6000
    # group.instance.id: a static member.
    instance: str | None = None


class Listener(kafka.ConsumerRebalanceListener):  # type: ignore[misc]
    """Tells what a kafka-python consumer has to give up."""

    def __init__(self, on_revoked: Revoked) -> None:
        self.on_revoked = on_revoked

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        self.on_revoked(frozenset(each.partition for each in revoked))

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        pass


def kafka_python(bootstrap: str, topic: str, group: str, options: Options, on_revoked: Revoked) -> Consumer:
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        group_instance_id=options.instance,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        partition_assignment_strategy=[ASSIGNORS[options.strategy]],
        heartbeat_interval_ms=100,
        session_timeout_ms=options.session_timeout_ms,
        fetch_max_wait_ms=100,
        retry_backoff_ms=20,
    )
    consumer.subscribe([topic], listener=Listener(on_revoked))
    return KafkaPythonConsumer(consumer)


def librdkafka(bootstrap: str, topic: str, group: str, options: Options, on_revoked: Revoked) -> Consumer:
    static = {} if options.instance is None else {"group.instance.id": options.instance}
    consumer = ck.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": options.strategy,
            "heartbeat.interval.ms": 100,
            "session.timeout.ms": options.session_timeout_ms,
            "fetch.wait.max.ms": 100,
            **static,
            **QUIET,
        }
    )
    consumer.subscribe([topic], on_revoke=lambda _, lost: on_revoked(frozenset(each.partition for each in lost)))
    return LibrdkafkaConsumer(consumer)


LIBRARIES = {"kafka-python": kafka_python, "librdkafka": librdkafka}


def consume(library: str, bootstrap: str, topic: str, group: str, options: dict[str, Any]) -> None:
    """What the process does until it is told to stop."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())

    def say(**event: Any) -> None:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()

    consumer = LIBRARIES[library](bootstrap, topic, group, Options(**options), lambda lost: say(revoked=sorted(lost)))
    owned: frozenset[int] | None = None
    while not stopped.is_set():
        records = consumer.poll()
        if records:
            consumer.commit(topic, {record.partition: record.offset + 1 for record in records})
        now = consumer.assignment()
        if now != owned:
            owned = now
            say(owned=sorted(owned))
        for record in records:
            say(partition=record.partition, offset=record.offset, value=(record.value or b"").decode())
    consumer.close()


class MemberProcess:
    """One such process, and what it has said so far."""

    def __init__(self, library: str, bootstrap: str, topic: str, group: str, **options: Any) -> None:
        arguments = json.dumps([library, bootstrap, topic, group, options])
        # setpriv: a test run that is killed takes its consumers along.
        guard = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
        command = [*guard, sys.executable, "-m", "tests.clients.consumer_process", arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        # Every assignment it has had, what it had to give up, and what it has committed: (partition, offset, value).
        self.assignments: list[frozenset[int]] = []
        self.revoked: list[frozenset[int]] = []
        self.records: list[tuple[int, int, str]] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            with self._changed:
                if "owned" in event:
                    self.assignments.append(frozenset(event["owned"]))
                elif "revoked" in event:
                    self.revoked.append(frozenset(event["revoked"]))
                else:
                    self.records.append((event["partition"], event["offset"], event["value"]))

    @property
    def owned(self) -> frozenset[int]:
        return self.assignments[-1] if self.assignments else frozenset()

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """No goodbye: kill -9. What it had said before is still read."""
        self._process.kill()
        self._end()

    def stop(self) -> None:
        """It leaves the group."""
        self._process.terminate()
        self._end()

    def _end(self) -> None:
        self._process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        assert self._process.stdout is not None
        self._process.stdout.close()


class ProcessGroup:
    """The processes of a test; none outlives it."""

    def __init__(self) -> None:
        self.members: list[MemberProcess] = []

    def add(self, *arguments: Any, **options: Any) -> MemberProcess:
        member = MemberProcess(*arguments, **options)
        self.members.append(member)
        return member

    def wait_for(self, what: str, condition: Any) -> None:
        """Until the condition holds for what the processes have said."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {WAIT_S} s; {self.told()}"
            threading.Event().wait(0.02)

    def told(self) -> str:
        return "; ".join(
            f"{member.pid} owns {sorted(member.owned)}, has read {len(member.records)}" for member in self.members
        )

    def close(self) -> None:
        for member in self.members:
            member.kill()


if __name__ == "__main__":
    consume(*json.loads(sys.argv[1]))
