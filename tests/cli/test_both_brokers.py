"""The same command lines against Ottla and against Apache Kafka: the same output, the same exit codes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import confluent_kafka

from tests.cli.conftest import Shell

Shells = tuple[Shell, Shell]


def on_both(shells: Shells, lines: Callable[[Shell], None]) -> None:
    """Play lines on both and compare every word."""
    for shell in shells:
        lines(shell)
    ours, kafkas = (shell.transcript for shell in shells)
    for mine, theirs in zip(ours, kafkas, strict=True):
        assert mine == theirs


def table(text: str) -> list[list[str]]:
    """The cells of a printed table, without its head."""
    return [line.split() for line in text.splitlines()[1:]]


def test_a_topic_from_creation_to_deletion(shells: Shells, unique: str) -> None:
    """Create (dry and real), again, list, describe, delete; as text and as JSON."""
    topic, other = f"{unique}.a", f"{unique}.b"

    def lines(run: Shell) -> None:
        run.ok(f"topic create {topic} {other} -p 3 -r 1 -c retention.ms=86400000 --dry-run")
        assert run(f"topic describe {topic}").code == 1
        run.ok(f"topic create {topic} {other} -p 3 -r 1 -c retention.ms=86400000 -c cleanup.policy=compact,delete")
        assert run(f"topic create {topic}").code == 1
        assert run(f"topic create {unique}.c {topic}").code == 1
        assert run(f"topic describe {unique}.c").code == 1, "the first of several was made although the second failed"
        run.ok(f"topic create {topic} {unique}.c --if-not-exists --json")
        assert table(run.ok(f"topic list '{unique}.*'")) == [
            [topic, "3", "1"],
            [other, "3", "1"],
            [f"{unique}.c", "1", "1"],
        ]
        assert [each["name"] for each in json.loads(run.ok(f"topic list '{unique}.?' --json"))][:2] == [topic, other]
        assert "__consumer_offsets" not in run("topic list").out
        run.transcript.pop()
        run.ok(f"topic describe {topic} {other}")
        described = json.loads(run.ok(f"topic describe {topic} --json"))
        assert described[0]["configs"] == {"cleanup.policy": "compact,delete", "retention.ms": "86400000"}
        assert [row["end_offset"] for row in described[0]["partitions"]] == [0, 0, 0]
        assert run(f"topic delete {topic} {unique}.nope").code == 1
        run.ok(f"topic delete {topic} {other} --dry-run")
        run.ok(f"topic describe {topic}")
        run.ok(f"topic delete {topic} {other} {unique}.c {unique}.nope --if-exists")
        assert run(f"topic describe {topic}").code == 1
        assert run(f"topic delete {topic}").code == 1

    on_both(shells, lines)


def test_what_the_broker_refuses_is_exit_code_two_where_it_was_asked_wrongly(shells: Shells, unique: str) -> None:
    """Unknown settings and bad values, more replicas than brokers, fewer partitions; Kafka's words, its code."""

    def lines(run: Shell) -> None:
        assert run(f"topic create {unique} -c no.such=1").code == 2
        assert run(f"topic create {unique} -c retention.ms=soon").code == 2
        # How many brokers are left is said in each broker's own way.
        assert run(f"topic create {unique} -r 3").code == 2
        run.transcript.pop()
        assert run(f"topic describe {unique}").code == 1, "nothing was made"
        run.ok(f"topic create {unique} -p 3")
        assert run(f"topic alter {unique} -p 3").code == 2
        assert run(f"topic alter {unique} -p 2").code == 2
        assert run(f"topic alter {unique}.nope -p 2").code == 1
        run.ok(f"topic alter {unique} -p 5 --dry-run")
        run.ok(f"topic alter {unique} -p 4 --json")
        assert len(table(run.ok(f"topic describe {unique}"))) == 1 + 4
        assert run(f"config describe topic {unique}.nope").code == 1
        assert run(f"config describe topic {unique} no.such").code == 2
        assert run("config describe broker 77").code == 1
        assert run(f"group describe {unique}.nope").code == 1
        assert run(f"group delete {unique}.nope").code == 1
        assert run(f"consume {unique}.nope").code == 1
        assert run(f"consume {unique} -p 9").code == 2
        assert run(f"consume {unique} -p 0 --offset 9").code == 2
        assert run(f"produce {unique} -p 9", b"x\n").code == 2
        assert run(f"produce {unique} -X no.such=1", b"x\n").code == 2
        assert run(f"consume {unique} -X no.such=1").code == 2
        assert run(f"group reset {unique} --topic {unique}:9 --to-latest").code == 1
        assert run(f"group reset {unique} --all-topics --to-latest").code == 2

    on_both(shells, lines)


def test_settings_are_described(shells: Shells, unique: str) -> None:
    """What is set, all, some; where each comes from."""

    def lines(run: Shell) -> None:
        run.ok(f"topic create {unique} -c segment.bytes=1048576 -c min.insync.replicas=1")
        assert table(run.ok(f"config describe topic {unique}")) == [
            ["min.insync.replicas", "1", "topic"],
            ["segment.bytes", "1048576", "topic"],
        ]
        run.ok(f"config describe topic {unique} retention.ms cleanup.policy --json")
        every = run.ok(f"config describe topic {unique} --all")
        assert ["retention.ms", "604800000", "default"] in table(every)
        of_broker = table(run.ok("config describe broker 1 num.partitions"))
        assert of_broker == [["num.partitions", "1", "server.properties"]]

    on_both(shells, lines)


def test_lines_go_in_and_come_out(shells: Shells, unique: str, tmp_path: Path) -> None:
    """stdin, files, keys, headers, tombstones; printed as values, with keys, in full, by template, as JSON."""
    file = tmp_path / "lines.txt"
    file.write_bytes(b"x:1\r\ny:2\nz:NULL")

    def lines(run: Shell) -> None:
        run.ok(f"topic create {unique}")
        assert "2 records written" in run(f"produce {unique} -H source=test -H n=1 -z zstd", b"one\ntwo\n").err
        report = json.loads(run.ok(f"produce {unique} {shell_path(file)} -K : --null-value NULL --acks 1 --json"))
        assert report["partitions"] == [{"partition": 0, "first_offset": 2, "last_offset": 4}]
        run.ok(f"produce {unique} {shell_path(file)} --format whole -k file --acks 0")
        assert run.ok(f"consume {unique} --from-beginning -n 2") == "one\ntwo\n"
        assert run.ok(f"consume {unique} -o 2 -n 3 -K =") == "x=1\ny=2\nz=\n"
        assert run.ok(f"consume {unique} -o 4 -n 1 -f '%o %k %S|'") == "4 z -1|"
        assert run.ok(f"consume {unique} -o -1 -e") == "x:1\r\ny:2\nz:NULL\n"
        assert run.ok(f"consume {unique} --time 1h -n 1 -f long").endswith('key=null value="one" source="test" n="1"\n')
        assert run.ok(f"consume {unique} --time now -e") == ""
        assert run.ok(f"consume {unique} --offset latest --idle 0.2") == ""
        copied = run.ok(f"consume {unique} --from-beginning -e --json").encode()
        run.ok(f"topic create {unique}.copy")
        run.ok(f"produce {unique}.copy --format json", copied)
        assert run.ok(f"consume {unique}.copy --from-beginning -e --json") == copied.decode().replace(
            f'"topic":"{unique}"', f'"topic":"{unique}.copy"'
        )

    on_both(shells, lines)


def shell_path(path: Path) -> str:
    return f"'{path}'"


def test_bad_lines_of_a_file_are_found_before_any_is_sent(shells: Shells, unique: str, tmp_path: Path) -> None:
    """A file is read through first; of stdin, what came before the bad line has been sent, and is said."""
    file = tmp_path / "lines.txt"
    file.write_bytes(b"a:1\nb\n")

    def lines(run: Shell) -> None:
        run.ok(f"topic create {unique}")
        ran = run(f"produce {unique} {shell_path(file)} -K :")
        assert (ran.code, ran.err) == (2, f"ottla: {file}, line 2: there is no ':' between key and value\n")
        assert run.ok(f"consume {unique} --from-beginning -e") == ""
        ran = run(f"produce {unique} -K :", b"a:1\nb\n")
        assert ran.code == 2
        assert ran.err.splitlines() == [
            f"1 record written to {unique}: partition 0 at 0",
            "ottla: stdin, line 2: there is no ':' between key and value",
        ]
        assert run.ok(f"consume {unique} --from-beginning -e") == "1\n"

    on_both(shells, lines)


def test_a_record_the_broker_refuses_is_counted(shells: Shells, unique: str) -> None:
    """MESSAGE_TOO_LARGE of one record: exit code 1, with what was not written."""

    def lines(run: Shell) -> None:
        run.ok(f"topic create {unique} -c max.message.bytes=2000")
        ran = run(f"produce {unique}", b"x" * 5000 + b"\n")
        assert ran.code == 1
        assert ran.err.startswith(f"ottla: 1 of 1 records were not written to {unique}: ")
        assert "MSG_SIZE_TOO_LARGE" in ran.err

    on_both(shells, lines)


@contextmanager
def member(bootstrap: str, group: str, topic: str) -> Iterator[None]:
    """A consumer that has its partitions, for the length of a test."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": bootstrap, "group.id": group, "client.id": "reader", "auto.offset.reset": "earliest"}
    )
    try:
        consumer.subscribe([topic])
        while not consumer.assignment():
            consumer.poll(0.1)
        yield
    finally:
        consumer.close()


def test_a_group_from_its_first_commit_to_its_deletion(shells: Shells, unique: str) -> None:
    """What was printed is committed; lag; reset by every way, dry and real; delete for a topic and whole."""
    group = f"{unique}.g"

    def lines(run: Shell) -> None:
        run.ok(f"topic create {unique} -p 2")
        run.ok(f"produce {unique} -p 0", b"a\nb\nc\nd\n")
        run.ok(f"produce {unique} -p 1", b"e\n")
        first = run.ok(f"consume {unique} -g {group} --from-beginning -n 5 -f '%p%s '")
        run.transcript.pop()
        assert sorted(first.split()) == ["0a", "0b", "0c", "0d", "1e"]
        run.ok(f"produce {unique} -p 0", b"f\ng\n")
        assert run.ok(f"consume {unique} -g {group} -n 1") == "f\n"
        run.ok(f"group describe {group}")
        facts = json.loads(run.ok(f"group describe {group} --json"))[0]
        assert [(row["partition"], row["committed"], row["lag"]) for row in facts["partitions"]] == [
            (0, 5, 1),
            (1, 1, 0),
        ]
        run.ok(f"group describe {group} --members")
        assert [group, "Empty", "Classic", "consumer"] in table(run("group list").out)
        run.transcript.pop()
        assert [group, "Empty", "Classic", "consumer"] in table(run("group list --state empty --type Classic").out)
        run.transcript.pop()
        for way, offsets in {
            "--to-earliest": ["0", "0"],
            "--to-latest": ["6", "1"],
            "--to-offset 3": ["3", "1"],
            "--to-current": ["5", "1"],
            "--shift-by -2": ["3", "0"],
            "--shift-by 100": ["6", "1"],
            "--to-time 1h": ["0", "0"],
            "--to-time now": ["6", "1"],
        }.items():
            told = table(run.ok(f"group reset {group} --topic {unique} {way} --dry-run"))
            assert [row[3] for row in told] == offsets, way
        assert table(run.ok(f"group reset {group} --topic {unique}:1 --to-earliest")) == [[unique, "1", "1", "0"]]
        run.ok(f"group reset {group} --all-topics --shift-by -1 --json")
        facts = json.loads(run.ok(f"group describe {group} --json"))[0]
        assert [(row["partition"], row["committed"]) for row in facts["partitions"]] == [(0, 4), (1, 0)]
        # A group that does not exist yet may be told where to begin.
        run.ok(f"group reset {group}.new --topic {unique}:0 --to-offset 5")
        assert run.ok(f"consume {unique} -g {group}.new -n 1") == "g\n"
        run.ok(f"group delete {group} --topic {unique} --dry-run")
        run.ok(f"group delete {group} --topic {unique}")
        assert run(f"group delete {group} --topic {unique}").code == 1
        run.ok(f"group delete {group}.new --dry-run")
        run.ok(f"group delete {group}.new")
        assert run(f"group describe {group}.new").code == 1

    on_both(shells, lines)


def test_a_group_with_members(shells: Shells, unique: str) -> None:
    """Who reads what; reset and delete are refused in one line while somebody is there."""

    def lines(run: Shell) -> None:
        run.ok(f"topic create {unique} -p 2")
        with member(run._process.bootstrap, unique, unique):
            text = run.ok(f"group describe {unique}")
            assert re.match(rf"{unique}   Stable   Classic   range   1 members   lag 0   coordinator 1\n", text)
            rows = run.ok(f"group describe {unique} --members").splitlines()[2].split()
            assert (rows[2], rows[4], rows[5]) == ("reader", "2", f"{unique}[0,1]")
            facts = json.loads(run.ok(f"group describe {unique} --json"))[0]
            assert facts["members"][0]["assignment"] == [{"topic": unique, "partitions": [0, 1]}]
            assert run(f"group reset {unique} --topic {unique} --to-latest").code == 1
            assert run(f"group delete {unique}").code == 1
            assert run(f"topic list {unique}").code == 0

    on_both(shells, lines)


def test_forgetting_is_checked_for_every_group_first(shells: Shells, unique: str) -> None:
    """Where one of several groups has committed nothing for the topic, the others forget nothing."""
    for run in shells:
        run.ok(f"topic create {unique} -p 1")
        for group in ("a", "b"):
            run.ok(f"topic create {unique}.{group} -p 1")
            run.ok(f"group reset {unique}.{group} --topic {unique}.{group} --to-latest")
        run.ok(f"group reset {unique}.a --topic {unique} --to-latest")
        refused = run(f"group delete {unique}.a {unique}.b --topic {unique}")
        assert refused.code == 1
        assert f"group {unique}.b: nothing is committed for {unique}" in refused.err
        described = json.loads(run.ok(f"group describe {unique}.a --json"))
        assert unique in {row["topic"] for row in described[0]["partitions"]}


def test_a_transaction_is_seen_and_aborted(shells: Shells, unique: str) -> None:
    """List, describe, abort; what does not exist is said. Ids of producers are the brokers' own."""

    def lines(run: Shell) -> None:
        conf = {"bootstrap.servers": run.bootstrap, "transactional.id": unique, "log_level": 0}
        producer = confluent_kafka.Producer(conf)
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce(unique, b"v")
        producer.flush()
        listed = json.loads(run.ok(f"transaction list --pattern {unique} --json"))
        assert [(each["transactional_id"], each["state"]) for each in listed] == [(unique, "Ongoing")]
        assert table(run.ok(f"transaction list --state Ongoing --pattern {unique}"))[0][:2] == [unique, "Ongoing"]
        assert table(run.ok(f"transaction list --longer-than 3600 --pattern {unique}")) == []
        described = json.loads(run.ok(f"transaction describe {unique} --json"))[0]
        assert described["partitions"] == [{"topic": unique, "partition": 0}]
        assert f"{unique}   Ongoing   producer" in run.ok(f"transaction describe {unique}")
        run.transcript.clear()
        assert run(f"transaction describe {unique}.nope").code == 1
        assert run(f"transaction abort {unique}.nope --yes").code == 1
        run.ok(f"transaction abort {unique} --yes")
        assert json.loads(run.ok(f"transaction describe {unique} --json"))[0]["state"] == "Empty"
        run.transcript.pop()
        assert run("transaction list --pattern '('").code == 2

    on_both(shells, lines)
