"""The table of settings is Apache Kafka 4.3.1's where it says so, and every entry reads and refuses as it claims."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.config import BROKER_SETTINGS, TOPIC_SETTINGS, Given, Kind, Setting, load
from ottla.config.inert import reason_without_effect, refusal
from ottla.config.setting import InvalidValue, render
from ottla.config.topic_config import without_effect

# Name -> [type, default, validator as ConfigDef prints it]: printed by Apache Kafka 4.3.1's own definitions.
KAFKA: dict[str, dict[str, list[str | None]]] = json.loads((Path(__file__).parent / "kafka_4_3_1.json").read_text())

EVERY = [*TOPIC_SETTINGS.values(), *BROKER_SETTINGS.values()]
NUMBERS = [s for s in EVERY if s.kind in (Kind.SHORT, Kind.INT, Kind.LONG, Kind.DOUBLE)]


def names(settings: list[Setting]) -> list[str]:
    return [f"{setting.scope}:{setting.name}" for setting in settings]


@pytest.mark.parametrize("setting", EVERY, ids=names(EVERY))
def test_type_and_default_are_kafkas(setting: Setting) -> None:
    """A setting of Kafka's name has Kafka's type and default; names beginning with ottla. are ours alone."""
    if setting.name.startswith("ottla."):
        assert setting.name not in KAFKA[setting.scope]
        return
    kind, default, _ = KAFKA[setting.scope][setting.name]
    assert setting.kind.name == kind
    # Where Ottla differs on purpose, the table says so, and then it does.
    assert (setting.text(setting.default) != default) == setting.own_default


@pytest.mark.parametrize("setting", EVERY, ids=names(EVERY))
def test_bounds_are_kafkas(setting: Setting) -> None:
    """Where Kafka's definition prints a range or a list of values, ours has the same."""
    validator = KAFKA[setting.scope].get(setting.name, [None, None, None])[2]
    ranged = re.fullmatch(r"\[(-?\d+),\.\.\.(?:,(-?\d+))?\](?: or (-?\d+))?", validator or "")
    if ranged:
        assert (str(setting.low), setting.beside) == (ranged[1], None if ranged[3] is None else int(ranged[3]))
        if ranged[2]:
            assert str(setting.high) == ranged[2]
    elif validator and re.fullmatch(r"\[[\w, ]+\]", validator):
        assert list(setting.choices) == validator.strip("[]").split(", ")


def test_every_name_kafka_knows_is_honoured_or_explained() -> None:
    """No setting of a working server.properties is called unknown."""
    silent = [name for name in KAFKA["broker"] if name not in BROKER_SETTINGS and reason_without_effect(name) is None]
    assert silent == []
    assert {name for name in TOPIC_SETTINGS if not name.startswith("ottla.")} == set(KAFKA["topic"])


def test_no_name_is_both_honoured_and_without_effect() -> None:
    """The two tables exclude each other."""
    assert [name for name in BROKER_SETTINGS if reason_without_effect(name) is not None] == []


@pytest.mark.parametrize("setting", EVERY, ids=names(EVERY))
def test_a_default_passes_its_own_checks(setting: Setting) -> None:
    """What the table gives as default could also have been written by a person."""
    text = setting.text(setting.default)
    if text is not None:
        assert setting.parse(text) == setting.default


@pytest.mark.parametrize("setting", NUMBERS, ids=names(NUMBERS))
def test_a_number_outside_its_bounds_is_refused(setting: Setting) -> None:
    """Both ends of the range are inside, one step further is outside."""
    low, high = setting._bounds()
    if high == float("inf"):
        high = 10**6
    assert setting.parse(str(low)) == low or setting.not_zero
    assert setting.parse(str(high)) == high
    if setting.low is not None and low - 1 != setting.beside:
        with pytest.raises(InvalidValue, match=r"Value must be|Not a number"):
            setting.parse(str(low - 1))
    if setting.high is not None or setting.kind is not Kind.DOUBLE:
        with pytest.raises(InvalidValue, match=r"Value must be|Not a number"):
            setting.parse(str(high + 1))


@pytest.mark.parametrize("setting", EVERY, ids=names(EVERY))
@given(text=st.text(max_size=30))
def test_any_text_is_read_or_refused_with_a_reason(setting: Setting, text: str) -> None:
    """No text makes anything but a value or `InvalidValue`; a value that is written out reads as the same value."""
    try:
        value = setting.parse(text)
    except InvalidValue:
        return
    written = setting.text(value)
    assert written is not None
    assert setting.parse(written) == value


@pytest.mark.parametrize(
    "name, text, value",
    [
        ("preallocate", " TRUE ", True),
        ("retention.ms", " +10 ", 10),
        ("retention.ms", "٣", 3),
        ("min.cleanable.dirty.ratio", "0.5f", 0.5),
        ("cleanup.policy", " compact , delete ", ["compact", "delete"]),
        ("cleanup.policy", "", []),
        ("compression.gzip.level", "-1", -1),
        ("leader.replication.throttled.replicas", "*", ["*"]),
        ("leader.replication.throttled.replicas", "0:1,1:1", ["0:1", "1:1"]),
    ],
)
def test_text_is_read_as_kafka_reads_it(name: str, text: str, value: object) -> None:
    """Each of these was accepted by Apache Kafka 4.3.1 in a CreateTopics request."""
    assert TOPIC_SETTINGS[name].parse(text) == value


@pytest.mark.parametrize(
    "name, text, reason",
    [
        ("preallocate", "maybe", "Expected value to be either true or false"),
        ("retention.ms", "0x10", "Not a number of type LONG"),
        ("retention.ms", "1_0", "Not a number of type LONG"),
        ("retention.ms", "9" * 5000, "Not a number of type LONG"),
        ("segment.bytes", "4294967296", "Not a number of type INT"),
        ("segment.bytes", "10", "Value must be at least 1048576"),
        ("compression.lz4.level", "18", "Value must be no more than 17"),
        ("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1"),
        ("min.cleanable.dirty.ratio", "x", "Not a number of type DOUBLE"),
        ("compression.type", "zip", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"),
        ("cleanup.policy", "compact,delete,foo", "String must be one of: compact, delete"),
        ("cleanup.policy", ",", "Configuration 'cleanup.policy' values must not be empty."),
    ],
)
def test_refusals_give_kafkas_reason(name: str, text: str, reason: str) -> None:
    """Each of these was refused by Apache Kafka 4.3.1 with the same reason."""
    with pytest.raises(InvalidValue) as caught:
        TOPIC_SETTINGS[name].parse(text)
    assert caught.value.reason == reason


@pytest.mark.parametrize("setting", EVERY, ids=names(EVERY))
def test_every_entry_describes_itself(setting: Setting) -> None:
    """Help, docs and DescribeConfigs have a sentence and a range to show for each."""
    shown = render(setting)
    assert shown["doc"].endswith(".")
    assert shown["allowed"]


def test_what_protects_is_refused_rather_than_ignored() -> None:
    """An authorizer that would not be asked keeps the broker from starting; an empty name does not."""
    assert "everybody" in str(refusal("authorizer.class.name", "org.example.Authorizer"))
    assert refusal("authorizer.class.name", " ") is None
    assert refusal("remote.log.storage.system.enable", "FALSE") is None
    assert refusal("num.io.threads", "8") is None


@pytest.mark.parametrize(
    "name, said",
    [
        ("zookeeper.connect", "no ZooKeeper is needed"),
        ("log.message.format.version", "one format of messages"),
        ("confluent.license.topic.replication.factor", "Confluent's own server"),
    ],
)
def test_names_of_older_files_say_why_they_have_no_effect(name: str, said: str) -> None:
    """What Kafka 4 no longer knows is still written in many files."""
    assert said in str(reason_without_effect(name))


ROOT = Path(__file__).resolve().parents[3]
TABLES = {"broker_settings.py", "group_settings.py", "topic_settings.py", "transaction_settings.py", "inert.py"}


def readers() -> str:
    """Everything that could read a setting by its name: the sources, without the tables that list names."""
    python = [path for path in (ROOT / "python" / "ottla").rglob("*.py") if path.name not in TABLES]
    rust = [ROOT / "rust" / "log" / "src" / "partition" / "config.rs", *(ROOT / "rust" / "py" / "src").glob("*.rs")]
    return "\n".join(path.read_text() for path in [*python, *rust] if path.parent.name != "messages")


READERS = readers()
READ_AS_TOPICS = {synonym.name: topic.name for topic in TOPIC_SETTINGS.values() for synonym in topic.synonyms}


@pytest.mark.parametrize("setting", EVERY, ids=names(EVERY))
def test_every_entry_is_read_or_says_why_not(setting: Setting) -> None:
    """No setting is accepted and silently ignored; none that is read claims to be ignored."""
    name = READ_AS_TOPICS.get(setting.name, setting.name) if setting.scope == "broker" else setting.name
    is_read = f'"{name}"' in READERS
    # Named where two settings are checked against each other or a topic is made, and by nothing that acts on them.
    is_read &= name not in {"remote.storage.enable", "unclean.leader.election.enable"}
    assert is_read == (not setting.without_effect)


@pytest.mark.parametrize(
    "text",
    [
        "log.local.retention.ms=5",
        "log.preallocate=true",
        "unclean.leader.election.enable=true",
    ],
)
def test_what_is_accepted_without_effect_is_said_at_the_start(text: str) -> None:
    """With the place where it stands, and the reason."""
    name, _, value = text.partition("=")
    (warning,) = load([Given(name, value, "line 1 of x")]).warnings
    assert warning.startswith(f"{text} (line 1 of x) has no effect: ")
    topic = READ_AS_TOPICS[name]
    (sentence,) = without_effect({topic: value, "retention.ms": "1"})
    assert sentence.startswith(f"{topic}={value} has no effect: ")
    assert "effect" in render(BROKER_SETTINGS[name])["doc"]
    assert "effect" in render(TOPIC_SETTINGS[topic])["doc"]


def test_what_has_an_effect_is_not_called_without() -> None:
    """Deletion by retention works, and compaction does."""
    policy = Given("log.cleanup.policy", "compact,delete", "x")
    assert load([policy, Given("log.cleaner.threads", "2", "x"), Given("min.insync.replicas", "1", "x")]).warnings == ()


def test_a_long_run_of_blanks_in_a_list_costs_nothing() -> None:
    """Blanks around commas go, those inside an entry stay, in time that grows with the text and not its square."""
    setting = TOPIC_SETTINGS["cleanup.policy"]
    assert setting.parse(" compact\t,\n delete ") == ["compact", "delete"]
    blanks = " " * 2_000_000
    with pytest.raises(InvalidValue):
        setting.parse(f"compact{blanks}delete")
