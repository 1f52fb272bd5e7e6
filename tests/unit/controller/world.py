"""A controller in a world of fakes, driven by the commands of the golden scripts.

One command in a line, `name argument ... option=value ...`; see `World.run` for what there is. Everything it prints is
deterministic: ids come from a seed, time stands still until a command turns it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Struct

from ottla import messages
from ottla.clock import DeadlineQueue, SeededRandom, VirtualClock
from ottla.config import Endpoint, Given, load
from ottla.controller.alter_configs import Alteration, Operation, alter_configs
from ottla.controller.controller import Controller
from ottla.controller.create_partitions import MorePartitions, create_partitions
from ottla.controller.create_topics import NewTopic, TopicDefaults, create_topics
from ottla.controller.delete_topics import TopicReference, delete_topics
from ottla.controller.image import Change, MetadataImage
from ottla.controller.producer_ids import ProducerIds
from ottla.controller.registration import register
from ottla.errors import ErrorCode, RequestError, StorageError
from ottla.testing import MemoryMetadataJournal, run_until


class NamedCodec:
    """Metadata records as `Name:messagepack`: what the real codec does, readable and without it."""

    def encode_metadata_record(self, record: Struct, version: int) -> bytes:
        return type(record).__name__.encode() + b":" + msgspec.msgpack.encode(record)

    def decode_metadata_record(self, value: bytes) -> Struct | None:
        name, _, body = value.partition(b":")
        kind = getattr(messages, name.decode(), None)
        return None if kind is None else msgspec.msgpack.decode(body, type=kind)


def show(record: Struct) -> str:
    """A record without the fields that say nothing."""
    fields = {}
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, bytes):
            value = value.hex()[:8]
        if value not in (None, [], "", False, 0):
            fields[name] = (
                [show(entry) if isinstance(entry, Struct) else entry for entry in value]
                if isinstance(value, list)
                else value
            )
    return f"{type(record).__name__}({', '.join(f'{name}={value}' for name, value in fields.items())})"


class World:
    """See the module's doc."""

    def __init__(self, **settings: str) -> None:
        self.config = load(Given(name.replace("_", "."), text, "test") for name, text in settings.items())
        self.codec: Any = NamedCodec()
        self.random = SeededRandom(1)
        self.journal = MemoryMetadataJournal()
        self.printed: list[str] = []
        self.snapshot_bytes = 1 << 30
        self.boot()

    def boot(self) -> None:
        """Build a controller over the log there is."""
        self.clock = VirtualClock()
        self.deadlines = DeadlineQueue()
        self.controller = Controller(
            self.journal,
            self.codec,
            self.clock,
            self.deadlines,
            snapshot_bytes=self.snapshot_bytes,
            on_change=self.changed,
        )
        self.producer_ids = ProducerIds(self.controller, 1)
        self.controller.replay()
        self.controller.image.take_change()

    def changed(self, image: MetadataImage, change: Change) -> None:
        names = [topic.name for topic in change.topics.values()]
        self.print(f"published topics={names} deleted={list(change.deleted.values())} cluster={change.cluster}")

    def print(self, line: str) -> None:
        self.printed.append(line)

    def run(self, command: str) -> str:
        """Run one command and give what it printed."""
        self.printed = []
        name, *arguments = shlex.split(command)
        options = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
        plain = [argument for argument in arguments if "=" not in argument]
        journal, before = self.journal, len(self.journal.history)
        getattr(self, f"do_{name}")(plain, options)
        written = [
            f"{first + number}: {self.shown(value)}"
            for first, values in journal.history[before:]
            for number, value in enumerate(values)
        ]
        return "\n".join([*written, *self.printed])

    def shown(self, value: bytes) -> str:
        record = self.codec.decode_metadata_record(value)
        return repr(value) if record is None else show(record)

    def change(self, decide: Callable[[MetadataImage], Any], deadline_ms: int | None = None) -> None:
        def done(outcome: list[Any] | RequestError) -> None:
            for result in [outcome] if isinstance(outcome, RequestError) else outcome:
                self.print(self.result(result))

        self.controller.change(decide, done, deadline_ms)

    def result(self, result: Any) -> str:
        if isinstance(result, RequestError):
            return f"=> {result.code.name}: {result.message}"
        if isinstance(result, int):
            return f"=> {result}"
        said = "" if result.message is None else f": {result.message}"
        counts = f" {result.partition_count}x{result.replication_factor}" if hasattr(result, "partition_count") else ""
        name = getattr(result, "name", None) or getattr(result, "topic", None)
        return f"=> {name!r}{counts} {result.code.name}{said}"

    def defaults(self) -> TopicDefaults:
        return TopicDefaults(
            self.config.integer("num.partitions"),
            self.config.integer("default.replication.factor"),
            self.config.topic_defaults,
        )

    # The commands.

    def do_register(self, plain: list[str], options: dict[str, str]) -> None:
        """Register [id=1] [unclean]: start a broker."""
        node = int(options.get("id", "1"))
        self.change(
            lambda image: register(
                image,
                broker_id=node,
                end_offset=self.journal.log_end_offset,
                endpoints=[Endpoint("PLAINTEXT", "localhost", 9092)],
                rack=None,
                random=self.random,
                clean_shutdown="unclean" not in plain,
            )
        )

    def do_create(self, plain: list[str], options: dict[str, str]) -> None:
        """Create name ... [n=1] [rf=1] [assign=0:1,2;1:1] [validate] [timeout=ms] setting=value ..."""
        own = ("n", "rf", "assign", "timeout")
        assignments = tuple(
            (int(part.split(":")[0]), tuple(int(node) for node in part.split(":")[1].split(",") if node))
            for part in options.get("assign", "").split(";")
            if part
        )
        configs: dict[str, str | None] = {key: value for key, value in options.items() if key not in own}
        topics = [
            NewTopic(
                "" if name == "<empty>" else name,
                int(options.get("n", "-1")),
                int(options.get("rf", "-1")),
                assignments,
                configs,
            )
            for name in plain
            if name != "validate"
        ]
        validate = "validate" in plain
        deadline = self.clock.monotonic_ms() + int(options["timeout"]) if "timeout" in options else None
        self.change(
            lambda image: create_topics(image, topics, self.defaults(), self.random, validate_only=validate), deadline
        )

    def do_grow(self, plain: list[str], options: dict[str, str]) -> None:
        """Grow name=count ... [assign=1;1] [validate]."""
        assign = options.pop("assign", None)
        chosen = (
            None
            if assign is None
            else tuple(tuple(int(node) for node in part.split(",") if node) for part in assign.split(";") if assign)
        )
        wanted = [MorePartitions(name, int(count), chosen) for name, count in options.items()]
        wanted += [MorePartitions(name, 99) for name in plain if name != "validate"]
        self.change(lambda image: create_partitions(image, wanted, self.random, validate_only="validate" in plain))

    def do_delete(self, plain: list[str], options: dict[str, str]) -> None:
        """Delete name | id:name | nothing | both:name ..."""
        wanted = []
        for word in plain:
            kind, _, name = word.rpartition(":")
            topic = self.controller.image.topics.get(name)
            topic_id = topic.topic_id if topic is not None else b"\7" * 16
            if word == "nothing":
                wanted.append(TopicReference())
            elif kind == "id":
                wanted.append(TopicReference(None, topic_id))
            else:
                wanted.append(TopicReference(name, topic_id if kind == "both" else bytes(16)))
        self.change(lambda image: delete_topics(image, wanted))

    def do_alter(self, plain: list[str], options: dict[str, str]) -> None:
        """Alter topic [-setting] [validate] setting=value +setting=value (append) ~setting=value (subtract)."""
        topic, *flags = plain
        kinds = {"+": Operation.APPEND, "~": Operation.SUBTRACT}
        operations: list[tuple[str, Operation, str | None]] = [
            (name.lstrip("+~"), kinds.get(name[0], Operation.SET), value) for name, value in options.items()
        ]
        operations += [(flag[1:], Operation.DELETE, None) for flag in flags if flag.startswith("-")]
        wanted = [Alteration(topic, tuple(operations))]
        self.change(lambda image: alter_configs(image, wanted, self.config, validate_only="validate" in flags))

    def do_producer_ids(self, plain: list[str], options: dict[str, str]) -> None:
        """producer_ids [count]: take ids, print the first and the last."""
        taken: list[Any] = []
        for _ in range(int(plain[0]) if plain else 1):
            self.producer_ids.take(taken.append)
        if not taken:
            self.print("(waiting)")
        elif isinstance(taken[0], RequestError):
            self.print(self.result(taken[0]))
        else:
            self.print(f"=> {taken[0]}..{taken[-1]} ({len(set(taken))} different)")

    def do_hold(self, plain: list[str], options: dict[str, str]) -> None:
        """hold: appends are not safe until `commit`."""
        self.journal.commit_at_once = False

    def do_commit(self, plain: list[str], options: dict[str, str]) -> None:
        """commit: what was appended is safe."""
        self.journal.commit()

    def do_offline(self, plain: list[str], options: dict[str, str]) -> None:
        """offline: the log takes nothing any more, and nothing more becomes safe."""
        self.journal.go_offline(StorageError("the disk failed"))
        self.controller.halt(ErrorCode.KAFKA_STORAGE_ERROR, "the disk failed")

    def do_fail(self, plain: list[str], options: dict[str, str]) -> None:
        """Fail [snapshot]: the next write to the log, or of a snapshot, fails."""
        if plain:
            self.journal.fail_snapshot_with = StorageError("disk full")
        else:
            self.journal.fail_with = StorageError("disk full")

    def do_wait(self, plain: list[str], options: dict[str, str]) -> None:
        """Wait ms: let time pass."""
        run_until(self.clock, self.deadlines, int(plain[0]))

    def do_control(self, plain: list[str], options: dict[str, str]) -> None:
        """control: a control record takes an offset, as at each start of a real log."""
        self.journal.append_control()

    def do_restart(self, plain: list[str], options: dict[str, str]) -> None:
        """Restart [power_cut]: build the controller again from its log."""
        self.journal = self.journal.restart(power_cut="power_cut" in plain)
        self.boot()

    def do_snapshot(self, plain: list[str], options: dict[str, str]) -> None:
        """Snapshot [bytes]: write one now, or after every so many bytes."""
        if plain:
            self.controller._snapshot_bytes = self.snapshot_bytes = int(plain[0])
        else:
            self.controller._snapshot()
        if self.journal.snapshot is not None:
            end, _, values = self.journal.snapshot
            self.print(f"snapshot before {end}:\n" + "\n".join(f"  {self.shown(value)}" for value in values))

    def do_log(self, plain: list[str], options: dict[str, str]) -> None:
        """Start on a log another broker has written to: log json ..., each record as {"Name": {...}}."""
        values = []
        for text in plain:
            ((name, fields),) = msgspec.json.decode(text).items()
            kind = getattr(messages, name, None)
            values.append(
                f"{name}:{fields}".encode()
                if kind is None
                else self.codec.encode_metadata_record(msgspec.convert(self.filled(fields), kind), 0)
            )
        self.journal.append(values, 0)
        self.boot()

    def filled(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Ids are written as the name of the topic they belong to."""
        return {
            name: self.controller.image.topics[value].topic_id if name == "topic_id" else value
            for name, value in fields.items()
        }

    def do_image(self, plain: list[str], options: dict[str, str]) -> None:
        """image: what the fold has come to."""
        for record in self.controller.image.records():
            self.print(f"  {show(record)}")
        for value in self.controller.image.kept:
            self.print(f"  kept {value!r}")

    def do_status(self, plain: list[str], options: dict[str, str]) -> None:
        """status: the controller's figures."""
        self.print(str(self.controller.status()))


def play(script: str) -> str:
    """Run a script and give it back with what its commands print now."""
    blocks = []
    world = World()
    for block in script.strip().split("\n\n"):
        lines = block.split("\n---")[0].split("\n")
        outputs: list[str] = []
        for line in lines:
            if line and not line.startswith("#"):
                output = world.run(line)
                if output:
                    outputs.append(output)
        blocks.append("\n".join([*lines, "---", *_without_blank_lines(outputs)]))
    return "\n\n".join(blocks) + "\n"


def _without_blank_lines(outputs: Iterable[str]) -> list[str]:
    return [line for output in outputs for line in output.split("\n") if line.strip()]
