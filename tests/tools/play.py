"""Plays the scenario: runs each line, lets members join, keeps what was said."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import confluent_kafka

from ottla.cli.main import main
from tests.tools import coordinator_records
from tests.tools.scenario import Step
from tests.tools.transcript import Ran, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURES = Path(__file__).with_name("fixtures")
SETTLED_S = 5
RunTool = Callable[[str, list[str], bytes], Ran]


def ours(tool: str, arguments: list[str], stdin: bytes) -> Ran:
    """Run our tool in this process."""
    kept = sys.stdin, sys.stdout, sys.stderr
    out, err = (
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="replace", write_through=True) for _ in range(2)
    )
    sys.stdin, sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO(stdin)), out, err
    try:
        code = main([tool, *arguments])
        out.flush()
        err.flush()
    finally:
        sys.stdin, sys.stdout, sys.stderr = kept
    texts = [stream.buffer.getvalue().decode(errors="replace") for stream in (out, err)]
    return Ran(code, *texts)


def play(steps: Sequence[Step], run: RunTool, server: str, folder: str, expected: str | None = None) -> str:
    """Give the transcript of a section.

    With `expected`, a step that only reads is repeated for a while until it says that: a broker of Apache Kafka may not
    know yet what its controller has just decided.
    """
    said: list[str] = []
    blocks = None if expected is None else iter(expected.split("\n\n"))
    with ExitStack() as members:
        for step in steps:
            if step.member is not None:
                members.enter_context(_member(server, *step.member))
                said.append(f"({step.member[0]} has a member)\n")
                if blocks is not None:
                    next(blocks)
                continue
            if step.records:
                _send(server, step.records)
                said.append(f"({step.records} has records)\n")
                if blocks is not None:
                    next(blocks)
                continue
            block = _block(step, run, server, folder)
            wanted = block if blocks is None else next(blocks)
            deadline = time.monotonic() + SETTLED_S
            while block != wanted.rstrip("\n") and step.reads and time.monotonic() < deadline:
                block = _block(step, run, server, folder)
            said.append(f"{block}\n")
    return "\n".join(said)


def _block(step: Step, run: RunTool, server: str, folder: str) -> str:
    ran = run(step.tool, step.arguments(server, folder), step.stdin.encode())
    shown = step.line + (f" < {step.stdin!r}" if step.stdin else "")
    lines = plain(ran, server, folder, help_page="--help" in step.line, unordered=step.unordered)
    return "\n".join([f"$ {shown}", *lines])


def _send(server: str, topic: str) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": server})
    for key, value in coordinator_records.RECORDS[topic]:
        producer.produce(topic, value, key, partition=0)
    assert producer.flush(60) == 0


@contextmanager
def _member(server: str, group: str, topic: str, instance: str | None) -> Iterator[None]:
    config: dict[str, Any] = {
        "bootstrap.servers": server,
        "group.id": group,
        "client.id": "member",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        **({"group.instance.id": instance} if instance else {}),
    }
    consumer = confluent_kafka.Consumer(config)
    try:
        consumer.subscribe([topic])
        read, deadline = 0, time.monotonic() + 60
        while read < 10:
            assert time.monotonic() < deadline, f"the member of {group} has read {read} records"
            message = consumer.poll(0.2)
            read += message is not None and message.error() is None
        consumer.commit(asynchronous=False)
        yield
    finally:
        consumer.close()
