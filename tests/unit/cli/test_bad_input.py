"""Every flag of `ottla topic`, `produce`, `consume`, `group` and `config`, given in the wrong way.

One line on stderr that says what and what would be right, exit code 2, and no broker is asked: the address is a port
where nobody listens, which would end with exit code 1.
"""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ottla.cli.main import LAZY, cli, main
from tests.unit.admin.fake_broker import fake_broker


@pytest.fixture(scope="module")
def dead() -> Iterator[str]:
    """An address where nobody listens, and nobody can begin to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


BAD = [
    # Unknown.
    ("topic crate", "No such command 'crate'. (Did you mean one of: 'alter', 'create'?)"),
    ("topic list --nope", "No such option '--nope'"),
    ("topic create t --part 3", "Did you mean '--partitions'?"),
    ("config describe planet t", "'planet' is not one of 'topic', 'broker', 'group'"),
    ("group list --state Happy", "'Happy' is not one of 'preparingrebalance'"),
    ("group list --type Old", "'Old' is not one of 'classic', 'consumer'"),
    ("produce t --compression rar", "'rar' is not one of 'none', 'gzip', 'snappy', 'lz4', 'zstd'"),
    ("produce t --acks 2", "'2' is not one of 'all', '1', '0'"),
    ("produce t --format xml", "'xml' is not one of 'lines', 'whole', 'json'"),
    ("consume t --format xml", "--format 'xml': write value, long, json, or a template: %t topic"),
    ("consume t --format %q", "'%q' is no part of a record: %t topic"),
    # Missing.
    ("topic create", "Missing argument 'TOPIC...'"),
    ("topic describe", "Missing argument 'TOPIC...'"),
    ("topic delete", "Missing argument 'TOPIC...'"),
    ("topic alter t", "say what to change: --partitions, --set or --unset"),
    ("config alter topic t", "say what to change: --set, --unset, --append or --subtract"),
    ("produce", "Missing argument 'TOPIC'"),
    ("consume", "Missing argument 'TOPIC'"),
    ("group describe", "Missing argument 'GROUP...'"),
    ("group reset g --topic t", "say where to: one of --to-earliest, --to-latest"),
    ("group reset g --to-earliest", "say what to reset: --topic TOPIC (may be repeated) or --all-topics"),
    # Wrong type.
    ("topic list -b nowhere", "'nowhere' is not HOST:PORT with a port of 1 to 65535, such as localhost:9092"),
    ("topic list -b ,", "name at least one broker as HOST:PORT"),
    ("topic list --timeout soon", "'soon' is no number of seconds above 0 and up to 3600"),
    ("topic create t -p many", "'many' is no whole number from 1 to 2147483647"),
    ("topic create t -r 1.5", "'1.5' is no whole number from 1 to 32767"),
    ("topic create t -c retention.ms", "'retention.ms' is not NAME=VALUE"),
    ("topic create t -c =5", "'=5' is not NAME=VALUE"),
    ("topic create t --replica-assignment a:b", "write the broker ids of each partition as in 1:2,2:1"),
    ("topic create t --replica-assignment 1:1", "none of them twice"),
    ("topic create t --replica-assignment 1:2,1", "as many for each"),
    ("topic create t --replica-assignment -1", "write the broker ids"),
    ("topic alter t --set x", "'x' is not NAME=VALUE"),
    ("config alter topic t --append x", "'x' is not NAME=VALUE"),
    ("config alter topic t --subtract x", "'x' is not NAME=VALUE"),
    ("config describe broker first", "'first' is no id of a broker: a whole number, such as 1"),
    ("config describe broker ²", "'²' is no id of a broker: a whole number, such as 1"),
    (f"config describe broker {'1' * 5000}", "is no id of a broker: a whole number, such as 1"),
    (f"group reset g --to-earliest --topic t:{'1' * 5000}", "write TOPIC, or TOPIC:0,1 with numbers of partitions"),
    ("topic create t --replica-assignment 99999999999", "write the broker ids of each partition as in 1:2,2:1"),
    ("produce t --key \udcff", "'\\udcff' is not UTF-8, which keys, names and values must be"),
    ("produce t -H \udcff=1", "'\\udcff' is not UTF-8, which keys, names and values must be"),
    ("produce t -p first", "'first' is no whole number from 0 to 2147483647"),
    ("produce t -H name", "'name' is not NAME=VALUE"),
    ("produce t -X linger.ms", "'linger.ms' is not NAME=VALUE"),
    ("produce t no-such-file", "'no-such-file' is no file that can be read"),
    ("consume t -p first", "'first' is no whole number from 0 to 2147483647"),
    ("consume t --offset first", "write a whole number, earliest, latest, or -N for the last N of each partition"),
    ("consume t --time yesterday", "'yesterday' is no moment: write 2026-11-21T10:00:00Z"),
    ("consume t --time 1969-12-31T00:00:00Z", "lies before 1970"),
    ("consume t --idle long", "'long' is no number of seconds above 0"),
    ("consume t -n all", "'all' is no whole number from 1 to"),
    ("group reset g --topic t --to-offset end", "'end' is no whole number from 0 to"),
    ("group reset g --topic t --to-time then", "'then' is no moment"),
    ("group reset g --topic t --shift-by far", "'far' is no whole number from -9223372036854775808 to"),
    ("group reset g --topic t:x --to-latest", "write TOPIC, or TOPIC:0,1 with numbers of partitions"),
    ("group reset g --topic t: --to-latest", "write TOPIC, or TOPIC:0,1 with numbers of partitions"),
    # Out of range.
    ("topic list --timeout 0", "'0' is no number of seconds above 0 and up to 3600"),
    ("topic list --timeout nan", "'nan' is no number of seconds above 0 and up to 3600"),
    ("topic list -b h:65536", "with a port of 1 to 65535"),
    ("topic create t -p 0", "'0' is no whole number from 1 to 2147483647"),
    ("topic create t -p 2147483648", "'2147483648' is no whole number"),
    ("topic create t -r 32768", "'32768' is no whole number from 1 to 32767"),
    ("topic alter t -p -1", "'-1' is no whole number from 1"),
    ("consume t --max-messages 0", "'0' is no whole number from 1"),
    ("consume t --offset 9223372036854775808", "write a whole number"),
    ("group reset g --topic t --to-offset -1", "'-1' is no whole number from 0"),
    ("config describe broker 2147483648", "is no id of a broker"),
    # Names that cannot be.
    ("topic create a/b", "'a/b' is no name of a topic: 1 to 249 letters, digits, '.', '_' and '-'"),
    ("topic create ..", "neither '.' nor '..'"),
    (f"topic create {'a' * 250}", "1 to 249"),
    ("topic delete ok not*ok", "'not*ok' is no name of a topic"),
    ("produce a:b", "'a:b' is no name of a topic"),
    ("consume a,b", "'a,b' is no name of a topic"),
    ("config describe topic a+b", "'a+b' is no name of a topic"),
    ("group reset g --topic a+b --to-latest", "'a+b' is no name of a topic"),
    ("group delete g --topic a+b", "'a+b' is no name of a topic"),
    # Twice.
    ("topic create t t", "topic 't' stands there twice"),
    ("topic create t -c a=1 -c a=2", "setting 'a' stands there twice"),
    ("group describe g g", "group 'g' stands there twice"),
    ("group reset g --topic t --topic t:1 --to-latest", "--topic t stands there twice"),
    # Contradictions.
    ("topic create t -p 3 --replica-assignment 1", "leave --partitions and --replication-factor out"),
    ("topic alter t --set a=1 --unset a", "'a' is to be changed in two ways"),
    ("config alter topic t --append a=1 --set a=2", "'a' is to be changed in two ways"),
    ("produce t -K : -k key", "--key-separator and --key contradict each other"),
    ("produce t -K : --format json", "--key-separator and --format json contradict each other"),
    ("produce t -k key --format json", "--format json has keys and nulls of its own"),
    ("produce t -K ''", "--key-separator is empty"),
    ("consume t --from-beginning --offset 5", "--from-beginning and --offset contradict each other"),
    ("consume t --offset 5 --time 2h", "--offset and --time contradict each other"),
    ("consume t -g g --offset 5", "--group goes on where the group stopped"),
    ("consume t -g g -p 0", "leave --partition, --offset and --time out"),
    ("consume t -X group.id=", "-X group.id: --group GROUP names the group"),
    ("consume t -g g --until-end", "--until-end needs all partitions"),
    ("consume t -g ''", "--group is empty"),
    ("consume t --json --format long", "--json and --format long contradict each other"),
    ("consume t -K : --format long", "--key-separator and --format long contradict each other"),
    ("group reset g --topic t --to-latest --to-offset 5", "--to-latest and --to-offset contradict each other"),
    ("group reset g --topic t --all-topics --to-latest", "say what to reset: --topic"),
]


@pytest.mark.parametrize("line, said", BAD, ids=[line for line, _ in BAD])
def test_one_line_and_exit_code_two(
    line: str, said: str, dead: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong, what would be right, and nobody is asked."""
    monkeypatch.setenv("OTTLA_BOOTSTRAP_SERVER", dead)
    code = main(shlex.split(line))
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, ""), captured.err
    assert re.fullmatch(r"ottla: [^\n]+\n", captured.err)
    assert said in captured.err


@pytest.mark.parametrize(
    "line",
    [
        *("topic list", "topic create t", "topic describe t", "topic alter t -p 3", "topic delete t"),
        *("produce t", "consume t", "consume t -g g", "config describe topic t", "config alter topic t --set a=1"),
        *("group list", "group describe g", "group delete g", "group reset g --topic t --to-latest"),
    ],
)
def test_a_dead_port_is_said_in_one_line(
    line: str, dead: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, at once: librdkafka, which tries for ever, is not even started."""
    monkeypatch.setattr("ottla.cli.librdkafka.client_config", lambda *_, **__: pytest.fail("librdkafka was started"))
    assert main([*line.split(), "-b", dead]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"ottla: {dead} cannot be connected to: connection refused\n")


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command there is."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))
        else:
            yield (*path, name)


OURS = [words for words in every_command(cli) if words[0] in ("topic", "produce", "consume", "group", "config")]


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_help_has_an_example_that_parses(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` ends with the command as typed, and what is shown there is understood."""
    assert main([*words, "--help"]) == 0
    _, found, examples = capsys.readouterr().out.partition("Examples:\n")
    assert found
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    assert any(line.startswith(" ".join(("ottla", *words))) for line in lines)
    for line in lines:
        for part in re.split(r"\s*[|<]\s*", line):
            if part.startswith("ottla "):
                parse(shlex.split(part)[1:])


PAGE = Path(__file__).resolve().parents[3] / "docs" / "cli.md"
SHOWN = sorted({line.partition("#")[0].strip() for line in PAGE.read_text().splitlines() if line.startswith("ottla ")})


@pytest.mark.parametrize("line", SHOWN)
def test_what_the_page_shows_parses(line: str) -> None:
    """Nobody copies a command from docs/cli.md that is not understood."""
    parse_line(line)


def parse_line(line: str) -> None:
    """Understand the commands in a line of a shell, as `parse` does."""
    for part in re.split(r"\s*[|<]\s*", line.partition("#")[0].strip()):
        if part.startswith("ottla "):
            parse(shlex.split(part)[1:])


def parse(words: list[str]) -> None:
    """Understand a command line without running it; raises what click says of one that is wrong."""
    command: click.Command = cli
    context = cli.make_context("ottla", words, resilient_parsing=True)
    rest = words
    while isinstance(command, click.Group):
        name, rest = rest[0], rest[1:]
        found = command.get_command(context, name)
        assert found is not None, name
        command = found
    command.make_context(command.name, rest)


@pytest.mark.parametrize("name", sorted(LAZY))
def test_the_list_of_commands_says_what_the_commands_say(name: str) -> None:
    """The line beside a command that is not loaded is the first of its own help."""
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    assert (found.help or "").splitlines()[0] == LAZY[name].help


def test_numbers_that_an_old_broker_wants_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Before Kafka 2.4 nothing is filled in (KIP-464): the options are named, nothing is sent."""
    with fake_broker() as broker:
        assert main(["topic", "create", "t", "-p", "3", "-b", broker.address]) == 2
        assert "older than Kafka 2.4" in capsys.readouterr().err
        assert broker.requests(19) == []
