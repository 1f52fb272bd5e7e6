"""Kafka's own command line tools against the broker: they do their work, and print what they print with Apache Kafka.

Each conversation runs with the broker under test and with the reference; what the tools said must be equal but for what
`tools.Shell` settles.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.drivers import DRIVERS, Members
from tests.kafka.tools import Shell, Tools, differences
from tests.processes import Process

Conversation = Callable[[Shell], None]
CONVERSATIONS: dict[str, Conversation] = {}


def conversation(function: Conversation) -> Conversation:
    CONVERSATIONS[function.__name__] = function
    return function


@pytest.fixture(scope="session")
def tools() -> Iterator[Tools]:
    """One JVM for all tools and both brokers."""
    made = Tools()
    yield made
    made.close()


def create(shell: Shell, partitions: int = 1) -> str:
    """The conversation's topic."""
    shell.run("topics", "--create", "--topic", shell.name, "--partitions", str(partitions))
    shell.until(f"PartitionCount: {partitions}", "topics", "--describe", "--topic", shell.name)
    return shell.name


def consume(shell: Shell, *arguments: str, unordered: bool = False) -> str:
    """ConsoleConsumer; a fetch that waits long keeps it from ending."""
    return shell.run("consume", "--command-property", "fetch.max.wait.ms=50", *arguments, unordered=unordered)


def fill(shell: Shell, count: int) -> None:
    """Records "k0:v0" and so on into the conversation's topic."""
    lines = "".join(f"k{number}:v{number}\n" for number in range(count))
    parse = ("--reader-property", "parse.key=true", "--reader-property", "key.separator=:")
    shell.run("produce", "--topic", shell.name, *parse, stdin=lines)


@contextmanager
def member(shell: Shell, group: str, partitions: int) -> Iterator[None]:
    """A group member that owns every partition of the conversation's topic."""
    members = Members()
    try:
        members.add("reader", DRIVERS["librdkafka"](shell.broker.bootstrap).member(shell.name, group))
        everything = frozenset(range(partitions))
        members.wait_for(lambda: members.owned.get("reader") == everything, "the member owns the topic")
        yield
    finally:
        members.close()


@conversation
def topics(shell: Shell) -> None:
    """Created, listed, described, altered, deleted; and refused."""
    name = shell.name
    shell.run("topics", "--create", "--topic", name, "--partitions", "2", "--config", "retention.ms=1234567")
    described = shell.until("PartitionCount: 2", "topics", "--describe", "--topic", name)
    assert "Configs: retention.ms=1234567" in described
    assert len(re.findall(r"Leader: 1\s+Replicas: 1\s+Isr: 1", described)) == 2
    shell.run("topics", "--create", "--topic", name, code=1)
    shell.run("topics", "--create", "--topic", name, "--if-not-exists")
    shell.run("topics", "--create", "--topic", f"{name}.assigned", "--replica-assignment", "1,1,1")
    shell.until("PartitionCount: 3", "topics", "--describe", "--topic", f"{name}.assigned")
    for wrong in (
        ("--topic", "a name with spaces"),
        ("--topic", f"{name}.three", "--replication-factor", "3"),
        ("--topic", f"{name}.none", "--partitions", "0"),
        ("--topic", f"{name}.setting", "--config", "retention.ms=a week"),
        ("--topic", f"{name}.setting", "--config", "no.such.setting=1"),
        ("--topic", f"{name}.nobody", "--replica-assignment", "7"),
    ):
        shell.run("topics", "--create", *wrong, code=1)
    shell.run("topics", "--list", "--topic", f"{name}.*")
    shell.run("topics", "--list", "--exclude-internal", "--topic", f"{name}.*|__.*")
    for health in ("under-replicated", "unavailable", "under-min-isr", "at-min-isr"):
        shell.run("topics", "--describe", f"--{health}-partitions", "--topic", name)
    shell.run("topics", "--describe", "--topics-with-overrides", "--topic", f"{name}.*")
    found = re.search(r"TopicId: (\S+)", described)
    assert found is not None
    by_id = shell.run("topics", "--describe", "--topic-id", found[1], compared=False)
    assert f"Topic: {name}\t" in by_id
    shell.run("topics", "--alter", "--topic", name, "--partitions", "4")
    shell.until("PartitionCount: 4", "topics", "--describe", "--topic", name)
    shell.run("topics", "--alter", "--topic", name, "--partitions", "3", code=1)
    shell.run("topics", "--alter", "--topic", f"{name}.missing", "--partitions", "3", code=1)
    shell.run("topics", "--describe", "--topic", f"{name}.missing", code=1)
    shell.run("topics", "--delete", "--topic", name)
    shell.until(r"\A\s*\Z", "topics", "--list", "--topic", name)
    shell.run("topics", "--delete", "--topic", name, code=1)
    shell.run("topics", "--delete", "--topic", name, "--if-exists")


@conversation
def console(shell: Shell) -> None:
    """Lines go in and come out, with keys, headers, compression, from places, and as a group."""
    name = create(shell, 2)
    fill(shell, 6)
    headers = ("--reader-property", "parse.headers=true", "--reader-property", "parse.key=true")
    options = ("--compression-codec", "zstd", "--request-required-acks", "all")
    shell.run("produce", "--topic", name, *headers, *options, stdin="a:1,b:2\tk6\twith headers\n")
    shown = [
        word
        for part in ("key", "headers", "partition", "offset")
        for word in ("--formatter-property", f"print.{part}=true")
    ]
    everything = consume(shell, "--topic", name, "--from-beginning", "--max-messages", "7", *shown, unordered=True)
    assert sorted(re.findall(r"\bv\d$", everything, re.MULTILINE)) == [f"v{number}" for number in range(6)]
    assert "a:1,b:2" in everything
    # Which partition a key belongs to is the client's choice and the same with both brokers.
    place = ("--topic", name, "--partition", "0")
    consume(shell, *place, "--offset", "1", "--max-messages", "1", *shown)
    consume(shell, *place, "--offset", "earliest", "--max-messages", "2", *shown)
    consume(shell, *place, "--offset", "latest", "--timeout-ms", "200")
    group = ("--topic", name, "--group", name, "--from-beginning", "--timeout-ms", "20000")
    consume(shell, *group, "--max-messages", "7", unordered=True)
    shell.run("groups", "--describe", "--group", name, unordered=True)
    consume(shell, "--include", f"{name}.*", "--from-beginning", "--max-messages", "7", unordered=True)


@conversation
def groups_described(shell: Shell) -> None:
    """--list and every form of --describe, with a member and without."""
    name = create(shell, 3)
    fill(shell, 9)
    shell.run("groups", "--describe", "--group", name, code=None)
    with member(shell, name, 3):
        shell.run("groups", "--list", only=name)
        shell.run("groups", "--list", "--state", only=name)
        shell.run("groups", "--list", "--state", "Stable", only=name)
        shell.run("groups", "--list", "--type", only=name)
        shell.run("groups", "--list", "--type", "classic", only=name)
        for form in (
            (),
            ("--offsets",),
            ("--verbose",),
            ("--members",),
            ("--members", "--verbose"),
            ("--state",),
            ("--state", "--verbose"),
        ):
            said = shell.run("groups", "--describe", "--group", name, *form, unordered=True)
            assert name in said
        shell.run("groups", "--describe", "--all-groups", "--members", only=name)
        shell.run("groups", "--delete", "--group", name, code=None)
        shell.run("groups", "--reset-offsets", "--group", name, "--all-topics", "--to-earliest", "--execute")
        shell.run("groups", "--delete-offsets", "--group", name, "--topic", name, code=None)
    shell.run("groups", "--reset-offsets", "--group", name, "--topic", name, "--to-latest", "--execute", unordered=True)
    for form in ((), ("--members",), ("--state",)):
        shell.run("groups", "--describe", "--group", name, *form, unordered=True)
    shell.run("groups", "--list", "--state", only=name)
    shell.run("groups", "--delete", "--group", name)
    shell.run("groups", "--delete", "--group", name, code=None)
    shell.run("groups", "--list", only=name)


@conversation
def groups_reset(shell: Shell) -> None:
    """--reset-offsets with every option, --delete-offsets."""
    name = create(shell, 2)
    fill(shell, 40)
    end = shell.run("offsets", "--topic", name)
    offsets = {int(line.split(":")[1]): int(line.split(":")[2]) for line in end.split()}
    assert sum(offsets.values()) == 40
    reset = ("groups", "--reset-offsets", "--group", name)
    every = ("--topic", name)

    def reset_to(*option: str, how: str = "--execute", code: int = 0) -> dict[int, int]:
        said = shell.run(*reset, *option, how, unordered=True, code=code)
        return {int(partition): int(offset) for partition, offset in re.findall(rf"{name}\s+(\d+)\s+(\d+)", said)}

    assert reset_to(*every, "--to-latest") == offsets
    assert reset_to(*every, "--to-earliest", how="--dry-run") == {0: 0, 1: 0}
    assert reset_to("--all-topics", "--to-current", how="--dry-run") == offsets
    assert reset_to(*every, "--shift-by", "-5") == {index: at - 5 for index, at in offsets.items()}
    assert reset_to(*every, "--shift-by", "3") == {index: at - 2 for index, at in offsets.items()}
    assert reset_to("--topic", f"{name}:1", "--to-offset", "4") == {1: 4}
    assert reset_to("--topic", f"{name}:0,1", "--to-offset", "1000") == offsets
    assert reset_to(*every, "--to-datetime", "2001-02-03T04:05:06.000") == {0: 0, 1: 0}
    assert reset_to(*every, "--to-datetime", "2100-01-01T00:00:00.000Z") == offsets
    assert reset_to(*every, "--by-duration", "P1D") == {0: 0, 1: 0}
    assert reset_to(*every, "--by-duration", "PT0S") == offsets
    exported = shell.run(*reset, *every, "--to-offset", "7", "--export", unordered=True)
    assert sorted(exported.split()) == [f'"{name}",{index},7' for index in range(2)]
    plan = shell.file("plan.csv", f"{name},0,3\n{name},1,5\n")
    assert reset_to("--from-file", plan, how="--dry-run") == {0: 3, 1: 5}
    assert reset_to("--from-file", plan) == {0: 3, 1: 5}
    shell.run("groups", "--describe", "--group", name, unordered=True)
    shell.run(*reset, *every, "--to-earliest", unordered=True)
    shell.run(*reset, *every, "--to-offset", "some", "--execute", code=None)
    shell.run(*reset, *every, "--to-earliest", "--to-latest", "--execute", code=None)
    shell.run(*reset, "--topic", f"{name}.missing", "--to-earliest", "--execute", code=None)
    shell.run("groups", "--delete-offsets", "--group", name, "--topic", f"{name}:0")
    assert shell.run("groups", "--describe", "--group", name, "--offsets").split().count(name) == 2
    shell.run("groups", "--delete-offsets", "--group", name, "--topic", f"{name}.missing", code=None)
    shell.run("groups", "--delete-offsets", "--group", f"{name}.missing", "--topic", name, code=None)


@conversation
def configs(shell: Shell) -> None:
    """Settings of a topic described, altered, taken back and refused; those of the broker described."""
    name = create(shell)
    topic = ("configs", "--entity-type", "topics", "--entity-name", name)
    shell.run(*topic, "--describe")
    shell.run(*topic, "--alter", "--add-config", "retention.ms=1234567,cleanup.policy=[compact,delete]")
    described = shell.until("retention.ms=1234567", *topic, "--describe", unordered=True)
    assert "cleanup.policy=compact,delete" in described
    shell.run("configs", "--topic", name, "--describe", "--all", unordered=True)
    added = shell.file("added.properties", "max.message.bytes=2097152\n")
    shell.run(*topic, "--alter", "--add-config-file", added, "--delete-config", "cleanup.policy")
    shell.until("max.message.bytes=2097152", *topic, "--describe", unordered=True)
    for wrong in ("retention.ms=a week", "no.such.setting=1", "cleanup.policy=none"):
        shell.run(*topic, "--alter", "--add-config", wrong, code=1)
    shell.run(*topic, "--alter", "--delete-config", "no.such.setting", code=None)
    shell.run("configs", "--topic", f"{name}.missing", "--describe", code=None)
    shell.run("configs", "--topic", f"{name}.missing", "--alter", "--add-config", "retention.ms=1", code=1)
    broker = shell.run("configs", "--broker", "1", "--describe", "--all", compared=False)
    assert "  num.partitions=1 sensitive=false" in broker


@conversation
def offsets(shell: Shell) -> None:
    """GetOffsetShell, DeleteRecordsCommand and LogDirsCommand over the same records."""
    name = create(shell, 2)
    fill(shell, 20)
    found = shell.run("offsets", "--topic", name)
    ends = {int(line.split(":")[1]): int(line.split(":")[2]) for line in found.split()}
    for time in ("-1", "latest", "-2", "earliest", "-4", "-5", "0", "4000000000000"):
        shell.run("offsets", "--topic", name, "--time", time)
    # Which record is the latest depends on the millisecond in which each line was read.
    newest = shell.run("offsets", "--topic", name, "--time", "max-timestamp", compared=False)
    assert [int(line.split(":")[2]) < ends[partition] for partition, line in enumerate(newest.split())] == [True, True]
    shell.run("offsets", "--topic-partitions", f"{name}:1,{name}:0-1", "--exclude-internal-topics")
    shell.run("offsets", "--topic", name, "--partitions", "0")
    shell.run("offsets", "--topic", name, "--partitions", "5", code=1)
    shell.run("offsets", "--topic", f"{name}.missing", code=1)
    described = json.loads(
        shell.run("log-dirs", "--describe", "--broker-list", "1", "--topic-list", name).splitlines()[-1]
    )
    (directory,) = described["brokers"][0]["logDirs"]
    assert directory["error"] is None
    sizes = {each["partition"]: each["size"] for each in directory["partitions"]}
    assert sorted(sizes) == [f"{name}-0", f"{name}-1"]
    assert min(sizes.values()) > 0
    shell.run("log-dirs", "--describe", "--broker-list", "9", "--topic-list", name, code=1)

    def delete(partition: int, offset: int) -> None:
        asked = {"partitions": [{"topic": name, "partition": partition, "offset": offset}], "version": 1}
        shell.run("delete-records", "--offset-json-file", shell.file("delete.json", json.dumps(asked)))

    delete(0, 3)
    delete(1, -1)
    delete(1, ends[1] + 1)
    assert shell.run("offsets", "--topic", name, "--time", "earliest").split() == [f"{name}:0:3", f"{name}:1:{ends[1]}"]
    shell.run("delete-records", "--offset-json-file", shell.file("bad.json", "{"), code=1)


@conversation
def verifiable(shell: Shell) -> None:
    """VerifiableProducer tells each offset; VerifiableConsumer reads and commits as many."""
    name = create(shell)
    produced = shell.run("verifiable-producer", "--topic", name, "--max-messages", "50", "--acks", "-1")
    told = [json.loads(line) for line in produced.splitlines()]
    assert [each["offset"] for each in told if each["name"] == "producer_send_success"] == list(range(50))
    arguments = ("--topic", name, "--group-id", name, "--max-messages", "50")
    consumed = shell.run("verifiable-consumer", *arguments, compared=False)  # how many polls it takes is chance
    events = [json.loads(line) for line in consumed.splitlines()]
    assert sum(each["count"] for each in events if each["name"] == "records_consumed") == 50
    (last,) = [each for each in events if each["name"] == "offsets_committed"][-1]["offsets"]
    assert (last["partition"], last["offset"]) == (0, 50)
    shell.run("groups", "--describe", "--group", name)


@conversation
def api_versions(shell: Shell) -> None:
    """Every API served is usable by Kafka's client; the rest is named as unsupported."""
    said = shell.run("api-versions", compared=False)
    assert f"{shell.broker.bootstrap} (id: 1 rack: null isFenced: false) -> (" in said
    usable = dict(re.findall(r"^\t(\w+)\(\d+\): .*\[usable: (\d+)\]", said, re.MULTILINE))
    asked = {"Produce": 13, "Fetch": 18, "Metadata": 13, "JoinGroup": 9, "CreateTopics": 7, "DescribeConfigs": 4}
    assert {name: int(usable[name]) for name in asked} == asked
    unsupported = set(re.findall(r"^\t(\w+)\(\d+\): UNSUPPORTED", said, re.MULTILINE))
    assert not unsupported & usable.keys()
    assert len(unsupported) + len(usable) > 60


@pytest.mark.kafka
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_tools_say_the_same(
    tools: Tools, broker: Process, reference: Process, unique: str, tmp_path: Path, name: str
) -> None:
    """What the docstring of the conversation says, and no word differs from what Apache Kafka makes the tools print."""
    shells = []
    for process in (broker, reference):
        folder = tmp_path / process.name / str(process.port)
        folder.mkdir(parents=True)
        shell = Shell(tools, process, unique, folder)
        CONVERSATIONS[name](shell)
        shells.append(shell)
    found = differences(*shells)
    assert not found, "\n".join(found)
