"""One chaos run: the programs, what is done to them, the history they leave, and the wait for progress."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import confluent_kafka as ck

from tests.clients import golang, javaclients, node
from tests.clients.drivers import DRIVERS, wait_until
from tests.clients.programs import Program, refuse
from tests.history import events
from tests.history.checker import assert_clean
from tests.history.events import AnyEvent, BadHistory, Recorder, decode
from tests.history.findings import Verdict
from tests.history.proxy import Fate, Proxy, Request
from tests.processes import Process

PROGRESS_WAIT_S = 60.0
QUIET: dict[str, Any] = {"log_level": 0, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200}
LIBRDKAFKA = (sys.executable, "-m", "tests.history.programs.librdkafka")
AIOKAFKA = (sys.executable, "-m", "tests.history.programs.aio")


class Client(Program):
    """A program whose lines go into the history."""

    def __init__(self, run: Run, name: str, command: Sequence[str | Path], count: int = 0) -> None:
        self.run = run
        self.name = name
        # What its members call themselves, if it is several.
        self.names = [f"{name}-{number}" for number in range(count)] or [name]
        self.gone = False
        super().__init__(command, run.folder / f"{name}.err")

    def said(self, line: str) -> None:
        if not line.endswith("\n"):
            return  # cut short by a kill
        self.run.take(line)

    def tell(self, line: str) -> None:
        """A line on its stdin."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ended(self) -> None:
        with self.run.changed:
            self.gone = True
            self.run.changed.notify_all()


class Run:
    """A run on one broker; as a context it leaves no process behind."""

    def __init__(self, folder: Path, broker: Process, proxy: Proxy | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.path = folder / "history.jsonl"
        self.broker = broker
        self.bootstrap = broker.bootstrap if proxy is None else proxy.bootstrap
        self.counts: Counter[str] = Counter()
        self.changed = threading.Condition()
        self.clients: list[Client] = []
        self.problems: list[str] = []
        self._commits: Counter[int] = Counter()
        self._recorder = Recorder(self.path)
        self._names: Counter[str] = Counter()
        if proxy is not None:
            proxy.told = self._proxied

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.process.send_signal(signal.SIGCONT)
            client.stop(signal.SIGKILL)
        self._recorder.close()

    # --- the history -------------------------------------------------------------------------------------------------

    def take(self, line: str) -> None:
        """A line of a program."""
        try:
            event = decode(line)
        except BadHistory as error:
            with self.changed:
                self.problems.append(str(error))
                self.changed.notify_all()
            return
        self._recorder.line(line.rstrip("\n").encode())
        self._count(event)

    def tell(self, kind: type[AnyEvent], process: str = "test", **fields: Any) -> None:
        """An event of the test itself."""
        event = kind(at=events.now_us(), process=process, **fields)
        self._recorder.tell(event)
        self._count(event)

    def _count(self, event: AnyEvent) -> None:
        tag = type(event).__struct_config__.tag
        with self.changed:
            self.counts[str(tag)] += 1
            self.counts[f"{tag} {event.process}"] += 1
            if isinstance(event, events.OffsetsCommitted):
                self._commits.update(partition for _, partition, _ in event.offsets)
            self.changed.notify_all()

    def commits(self, partitions: int) -> list[int]:
        """How often each partition's offset was committed outside of a transaction."""
        return [self._commits[partition] for partition in range(partitions)]

    def _proxied(self, fate: Fate, request: Request) -> None:
        self.tell(events.Fault, "proxy", what=f"{fate.name} {request.api}#{request.number}", target="connections")

    def wait_for(self, condition: Callable[[], bool], what: str, wait_s: float = PROGRESS_WAIT_S) -> None:
        with self.changed:
            met = self.changed.wait_for(lambda: bool(self.problems) or condition(), wait_s)
        assert not self.problems, self.problems
        assert met, f"{what}: not within {wait_s} s; {dict(self.counts)}; {self.path}; {self._tails()}"

    def progress(self, tag: str, more: int, *, of: Client | None = None) -> None:
        """Waits for so many more events of a kind."""
        name = tag if of is None else f"{tag} {of.name}"
        goal = self.counts[name] + more
        self.wait_for(lambda: self.counts[name] >= goal, f"{more} more of {name}")

    def _tails(self) -> dict[str, str]:
        return {client.name: client.tail()[-500:] for client in self.clients if client.tail()}

    def verdict(self, *, exactly_once: bool = True, at_least: dict[str, int] | None = None) -> Verdict:
        return assert_clean(self.path, exactly_once=exactly_once, at_least=at_least)

    # --- programs and what is done to them ---------------------------------------------------------------------------

    def start(self, command: Sequence[str | Path], role: str, slot: str, **options: object) -> Client:
        """Starts a program; each start in a slot has a name of its own."""
        self._names[slot] += 1
        name = f"{slot}.{self._names[slot]}"
        words = [f"{key}={value}" for key, value in options.items()]
        count = options.get("count", 0)
        assert isinstance(count, int)
        client = Client(self, name, [*command, role, name, self.bootstrap, *words], count)
        self.clients.append(client)
        return client

    def _fault(self, what: str, client: Client) -> None:
        for name in client.names:
            self.tell(events.Fault, "faults", what=what, target=name)

    def kill(self, client: Client) -> None:
        self._fault("kill", client)
        client.stop(signal.SIGKILL)

    def pause(self, client: Client) -> None:
        self._fault("pause", client)
        client.process.send_signal(signal.SIGSTOP)

    def resume(self, client: Client) -> None:
        client.process.send_signal(signal.SIGCONT)
        self._fault("resume", client)

    def end(self, client: Client) -> None:
        """SIGTERM: the program ends in order."""
        code = client.stop()
        assert code == 0, f"{client.name} ended with {code}: {client.tail()}"

    def restart_broker(self) -> None:
        """Kill -9 and a start."""
        self.tell(events.Fault, "faults", what="kill", target="broker")
        self.broker.kill()
        self.broker.start()

    def freeze_broker(self, pause_s: float = 1.0) -> None:
        """SIGSTOP for a moment: connections stay, and nobody answers."""
        self.tell(events.Fault, "faults", what="pause", target="broker")
        os.kill(self.broker.pid, signal.SIGSTOP)
        try:
            threading.Event().wait(pause_s)  # what is done, not what is waited for
        finally:
            os.kill(self.broker.pid, signal.SIGCONT)

    # --- topics ------------------------------------------------------------------------------------------------------

    def create_topic(self, topic: str, partitions: int) -> None:
        DRIVERS["librdkafka"](self.broker.bootstrap).create_topic(topic, partitions=partitions)

    def commit_start(self, group: str, topic: str, partitions: int) -> None:
        """Offsets for a group before it has members: those begin there, and have no reason ever to begin anew."""
        client: Any = ck.Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": group, **QUIET})
        try:
            client.commit(
                offsets=[ck.TopicPartition(topic, partition, 0) for partition in range(partitions)], asynchronous=False
            )
        finally:
            client.close()

    def wait_until_committed(
        self, group: str, topic: str, partitions: int, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        """Waits until the group has committed the end of every partition."""
        client: Any = ck.Consumer(
            {
                "bootstrap.servers": self.broker.bootstrap,
                "group.id": group,
                "isolation.level": "read_committed",
                **QUIET,
            }
        )
        wanted = [ck.TopicPartition(topic, partition) for partition in range(partitions)]
        try:
            ends = [client.get_watermark_offsets(each, timeout=30)[1] for each in wanted]

            def there() -> bool:
                meanwhile()
                try:
                    found = client.committed(wanted, timeout=5)
                except ck.KafkaException:
                    return False
                return all(each.offset >= end for each, end in zip(found, ends, strict=True))

            wait_until(there, f"{group} has committed {ends} of {topic}", PROGRESS_WAIT_S)
        finally:
            client.close()
        self.tell(events.Drained, group=group, topics=[topic])

    def _high_watermarks(self, wanted: list[Any]) -> dict[int, int]:
        """By partition. At read_committed the client would be told the last stable offsets."""
        client: Any = ck.Consumer(
            {
                "bootstrap.servers": self.broker.bootstrap,
                "group.id": "unused",
                "isolation.level": "read_uncommitted",
                **QUIET,
            }
        )
        try:
            return {each.partition: client.get_watermark_offsets(each, timeout=30)[1] for each in wanted}
        finally:
            client.close()

    def read_everything(self, topic: str, partitions: int) -> list[str]:
        """Reads what is visible at read_committed, to the very end: a last stable offset that sticks is an error."""
        process = f"reader of {topic}"
        client: Any = ck.Consumer(
            {
                "bootstrap.servers": self.broker.bootstrap,
                "group.id": "unused",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                **QUIET,
            }
        )
        found: list[str] = []
        wanted = [ck.TopicPartition(topic, partition, 0) for partition in range(partitions)]
        ends = self._high_watermarks(wanted)
        try:
            reached: dict[int, int] = {}
            client.assign(wanted)

            def at_the_end() -> bool:
                records: list[events.Read] = []
                for message in client.consume(500, 1):
                    if message.error() is None:
                        records.append((topic, message.partition(), message.offset(), message.value().decode()))
                    elif message.error().code() == ck.KafkaError._PARTITION_EOF:
                        reached[message.partition()] = message.offset()
                if records:
                    self.tell(events.Poll, process, isolation="committed", records=records)
                    found.extend(value for _, _, _, value in records)
                return all(reached.get(partition, -1) >= end for partition, end in ends.items())

            wait_until(at_the_end, f"the end of {topic} at {ends}", PROGRESS_WAIT_S)
        finally:
            client.close()
        for partition, end in ends.items():
            self.tell(events.Complete, process, topic=topic, partition=partition, first=0, end=end)
        return found


def java(version: str = "4.3.1") -> list[str]:
    """The programs with Kafka's own client."""
    return javaclients.java(version, "Chaos")


def franz_go() -> list[str | Path]:
    refuse(golang.missing())
    return [golang.build(), "chaos"]


def kafkajs() -> list[str | Path]:
    refuse(node.missing())
    node.install()
    return ["node", node.FOLDER / "chaos.js"]
