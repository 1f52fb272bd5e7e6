"""What an example needs around it: a broker, topics, processes that are watched, an outcome to show.

    with Stage("orders", chosen) as stage:
        stage.create({"orders": 3})
        stage.start("inventory", "examples.orders.service", ...)
        stage.wait("every order handled", lambda: ...)

Without `--bootstrap` the broker is `ottla.Broker()` in this process; with it, any Kafka. Topics and groups get a prefix
there, so that a program can be run twice against the same cluster. A process that ends unasked fails the example; all
of them are stopped, and none is left behind, also on Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
import uuid
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console

from examples import children
from examples.children import Child, Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from confluent_kafka import Message
    from confluent_kafka.admin import AdminClient

# The embedded broker is there for one program: groups need not wait for members that may start a little later, and a
# dead member may be noticed sooner than a broker for everybody allows.
BROKER_SETTINGS = {"group.initial.rebalance.delay.ms": "0", "group.min.session.timeout.ms": "1000"}
LOOK_EVERY_S = 0.02


def parser(name: str, description: str, *, victims: tuple[str, ...]) -> argparse.ArgumentParser:
    """The options every example has. `victims`: the processes that `--kill` may name."""
    made = argparse.ArgumentParser(prog=f"python -m examples.{name}", description=description)
    made.add_argument(
        "--bootstrap", type=host_and_port, metavar="HOST:PORT", help="a running Kafka (default: ottla.Broker() in here)"
    )
    made.add_argument("--prefix", help="for topics and groups (default: none in here, a random one with --bootstrap)")
    made.add_argument("--kill", choices=victims, help="SIGKILL for this process half-way")
    made.add_argument("--json", type=Path, metavar="FILE", help="also write the outcome there")
    made.add_argument("--timeout", type=positive, default=120, metavar="S", help="gives up after so many seconds")
    return made


def host_and_port(word: str) -> str:
    host, _colon, port = word.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise argparse.ArgumentTypeError(f"{word!r} is not HOST:PORT")
    return word


def positive(word: str) -> int:
    if not word.isdecimal() or int(word) == 0:
        raise argparse.ArgumentTypeError(f"{word!r} is not a whole number above 0")
    return int(word)


class Stage:
    """A broker, a temporary folder and a cast of processes."""

    def __init__(self, example: str, chosen: argparse.Namespace) -> None:
        self.example = example
        self.chosen = chosen
        self.console = Console()
        self.bootstrap: str = chosen.bootstrap or ""
        random = f"{uuid.uuid4().hex[:6]}-" if chosen.bootstrap else ""
        self.prefix: str = random if chosen.prefix is None else chosen.prefix
        self.children: dict[str, Child] = {}
        self._until = time.monotonic() + chosen.timeout

    def __enter__(self) -> Self:
        signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(143))  # so that __exit__ runs
        self.folder = Path(tempfile.mkdtemp(prefix=f"ottla-{self.example}-"))
        self._end = contextlib.ExitStack()
        self._end.callback(shutil.rmtree, self.folder, ignore_errors=True)
        try:
            if not self.bootstrap:
                import ottla

                broker = self._end.enter_context(ottla.Broker(config=BROKER_SETTINGS))
                self.bootstrap = broker.bootstrap_servers
            elif not children.answers(self.bootstrap):
                raise Failed(f"no broker answers at {self.bootstrap}")
        except BaseException:
            self._end.close()
            raise
        self._end.callback(self._clean_up)
        self.says(f"broker: {self.bootstrap}" + ("" if self.chosen.bootstrap else " (in this process)"))
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.close()

    def says(self, sentence: str) -> None:
        self.console.print(sentence, highlight=False, soft_wrap=True)

    # --- topics ----------------------------------------------------------------------------------------------------

    def name(self, word: str) -> str:
        """A topic or group of this run."""
        return self.prefix + word

    def create(self, partitions: Mapping[str, int], *, keep: bool = False) -> None:
        """Creates topics with so many partitions each. What is in one for longer than a week a broker takes away, and
        that goes by the timestamps of its records; `keep` is for topics whose records must stay.
        """
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # it does, unannounced

        config = {"retention.ms": "-1", "retention.bytes": "-1"} if keep else {}
        topics = [
            NewTopic(self.name(word), num_partitions=count, replication_factor=1, config=config)
            for word, count in partitions.items()
        ]
        for created in self.admin.create_topics(topics, operation_timeout=30).values():
            try:
                created.result(30)
            except KafkaException as error:
                raise Failed(f"a topic could not be created: {error.args[0].str()}") from error

    @cached_property
    def admin(self) -> AdminClient:
        from confluent_kafka.admin import AdminClient

        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2})

    def records(self, word: str) -> list[Message]:
        """Everything that is in the topic now, partition by partition."""
        from confluent_kafka import Consumer, TopicPartition

        settings = {"bootstrap.servers": self.bootstrap, "group.id": self.name("reader"), "enable.auto.commit": False}
        consumer = Consumer({**settings, "log_level": 2})
        try:
            topic = self.name(word)
            numbers = sorted(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
            ends = {}
            for number in numbers:
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30)
                if high > low:
                    ends[number] = high
            consumer.assign([TopicPartition(topic, number, 0) for number in ends])
            found: list[Message] = []
            while ends:
                for message in consumer.consume(500, 0.05):
                    if message.error() is not None:
                        raise Failed(f"reading {topic}: {message.error()}")
                    number, offset = message.partition() or 0, message.offset() or 0
                    found.append(message)
                    if offset + 1 >= ends.get(number, 0):
                        ends.pop(number, None)
                self.look_after_children()
            return sorted(found, key=lambda message: (message.partition() or 0, message.offset() or 0))
        finally:
            consumer.close()

    def ends(self, word: str) -> dict[int, int]:
        """The offset after the last record of each partition."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.name("reader"), "log_level": 2})
        try:
            topic = self.name(word)
            numbers = consumer.list_topics(topic, timeout=30).topics[topic].partitions
            return {n: consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=30)[1] for n in numbers}
        finally:
            consumer.close()

    def committed(self, group: str, word: str) -> dict[int, int]:
        """What the group has committed, by partition; 0 where nothing is."""
        from confluent_kafka import ConsumerGroupTopicPartitions

        asked = ConsumerGroupTopicPartitions(self.name(group))
        answer = next(iter(self.admin.list_consumer_group_offsets([asked]).values())).result(30)
        mine = [one for one in answer.topic_partitions if one.topic == self.name(word)]
        return dict.fromkeys(self.ends(word), 0) | {one.partition: max(0, one.offset) for one in mine}

    def wait_for_members(self, group: str, count: int) -> None:
        """Until so many members share the partitions of a group, as the coordinator tells anyone who asks."""
        from confluent_kafka import KafkaError, KafkaException

        loading = {
            KafkaError.NOT_COORDINATOR,
            KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
            KafkaError.COORDINATOR_NOT_AVAILABLE,
        }

        def shared() -> bool:
            try:
                described = self.admin.describe_consumer_groups([self.name(group)])[self.name(group)].result(30)
            except KafkaException as error:
                if error.args[0].code() in loading:  # a cluster that has only just got its first group
                    return False
                raise
            return sum(bool(member.assignment.topic_partitions) for member in described.members) == count

        self.wait(f"{count} members of {group} share the partitions", shared)

    # --- the cast --------------------------------------------------------------------------------------------------

    def start(self, name: str, module: str, *arguments: object, knows_broker: bool = True) -> Child:
        """`python -m MODULE BOOTSTRAP ARGUMENTS...` as a process of that name; BOOTSTRAP only if it is to know one."""
        words = [self.bootstrap] * knows_broker + [str(argument) for argument in arguments]
        child = Child(name, [sys.executable, "-m", module, *words], self.folder / f"{name}.log")
        self.children[name] = child
        return child

    def kill(self, name: str) -> None:
        """SIGKILL: no commit, no goodbye to the group."""
        child = self.children.pop(name)
        child.kill()
        self.says(f"[bold red]{name} (pid {child.pid}) is killed")

    def stop(self, *names: str) -> None:
        """SIGTERM for these, or all; each must end with 0."""
        leaving = [self.children.pop(name) for name in names or list(self.children)]
        for child in leaving:
            child.terminate()
        for child in leaving:
            self._ended(child, child.stop())

    def finish(self, *names: str) -> None:
        """No more lines for these, which are told by lines: each ends when it has done what it was told, with 0."""
        leaving = [self.children.pop(name) for name in names]
        for child in leaving:
            child.no_more_lines()
        for child in leaving:
            self._ended(child, child.wait(children.STOP_TIMEOUT_S))

    def _ended(self, child: Child, code: int) -> None:
        child.kill()
        if code != 0:
            raise Failed(f"{child.name} ended with {code}\n{children.tail(child.output)}")

    def wait(self, what: str, condition: Callable[[], bool]) -> None:
        """Returns once the condition holds; fails when time is up or a process has ended."""
        while not condition():
            self.look_after_children()
            if time.monotonic() > self._until:
                told = [f"{child.name}:\n{children.tail(child.output)}" for child in self.children.values()]
                raise Failed("\n".join([f"not done after {self.chosen.timeout} s, waiting for: {what}", *told]))
            time.sleep(LOOK_EVERY_S)

    def look_after_children(self) -> None:
        for name, child in self.children.items():
            if (code := child.ended()) is not None:
                raise Failed(f"{name} ended with {code}\n{children.tail(child.output)}")

    def _clean_up(self) -> None:
        for child in self.children.values():
            child.terminate()
        until = time.monotonic() + children.STOP_TIMEOUT_S
        for child in self.children.values():
            with contextlib.suppress(Exception):
                child.process.wait(max(0.0, until - time.monotonic()))
            child.kill()

    # --- the end ---------------------------------------------------------------------------------------------------

    def verdict(self, outcome: dict[str, Any], wrong: list[str]) -> int:
        """Says what is wrong, writes the outcome where it was asked for, returns the exit code."""
        for sentence in wrong:
            self.says(f"[red]wrong: {sentence}")
        if self.chosen.json is not None:
            self.chosen.json.write_text(json.dumps({**outcome, "prefix": self.prefix, "wrong": wrong}, indent=1))
        return 1 if wrong else 0


def run(play: Callable[[], int]) -> int:
    """An example's main: a failure is a sentence and exit code 1, Ctrl-C is 130."""
    from confluent_kafka import KafkaException

    try:
        return play()
    except (Failed, KafkaException, TimeoutError) as error:
        print(str(error) or "the broker did not answer in time", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
