"""Apache Kafka's own assignors, topic hashes and patterns say the same, asked in one process (ConsumerOracle.java)."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from ottla import _core
from ottla.coordinator.group.consumer.assignors import ASSIGNORS
from ottla.coordinator.group.consumer.assignors.subject import Subject
from ottla.coordinator.group.consumer.member import Target
from ottla.coordinator.group.consumer.topics import Cluster, Patterns, Racks, TopicView
from ottla.testing import MemoryTopics
from tests.kafka import jars

pytestmark = pytest.mark.kafka

NAMES = ["a", "ab", "a.b", "b-1", "b-22", "B_1", "orders", "orders.v2", "__consumer_offsets", "x" * 249]
# Both engines understand these alike.
PATTERNS = [
    *("a", "a.*", "a|ab", "(a|b)-?.*", ".*", "", "^a$", "orders(\\.v\\d+)?", "[a-z]-\\d{1,2}", "(?i)b_1", "\\w+"),
    *(
        "a(",
        "*",
        "a{2,1}",
        "[",
        "\\",
        "(?=a)",
        "(a)\\1",
        "(?P<n>a)b",
        "[[:alpha:]]+",
        "\\Qa.b\\E",
        "\\Qa.b",
        "\\p{Lu}_1",
    ),
    *("(?s).+", "a\\b", "\\Aa\\z", "x{249}", "[^_].*", "(?:b-){1}\\d", "a++", "(?<n>a)", "\\.", "b\\-1", "\\C"),
]
# These they do not: RE2/J's word on the left, ours on the right (None: refused). `docs/compatibility.md` tells.
DIFFERENT = {
    # An operator in our classes, plain characters in RE2's.
    "[a&&b]": (["a"], []),
    # RE2/J counts to 1,000; ours as far as the compiled pattern stays small.
    "a{1001}": (None, []),
    # Repeated repetitions are an error in RE2/J.
    "a++": (None, ["a"]),
    # Plain characters in RE2/J, since nothing stands before the comma.
    "a{,2}": ([], None),
}


def id_of(number: int) -> bytes:
    return number.to_bytes(16, "big")


def cases() -> list[tuple[str, bool, dict[int, int], list[Subject]]]:
    """Groups that were made by chance, the same ones each time."""
    chance = random.Random(848)
    found = []
    for index in range(400):
        name, alike = chance.choice(["uniform", "range"]), chance.random() < 0.5
        counts = {number: chance.randint(1, 12) for number in chance.sample(range(1, 1000), chance.randint(1, 5))}
        everything = tuple(map(id_of, counts))
        members: list[Subject] = []
        held: dict[int, dict[bytes, list[int]]] = {}
        size = chance.randint(1, 9)
        for number, count in counts.items():
            for partition in range(count):
                owner = chance.randrange(-2, size)
                if owner >= 0 and index % 3:
                    held.setdefault(owner, {}).setdefault(id_of(number), []).append(partition)
        for member in range(size):
            topics = everything if alike else tuple(each for each in everything if chance.random() < 0.6)
            instance = f"i{chance.randint(0, 999)}-{member}" if chance.random() < 0.3 else None
            target = {key: tuple(partitions) for key, partitions in held.get(member, {}).items()}
            members.append(Subject(f"m{member}", instance, topics, target))
        found.append((name, alike, counts, members))
    return found


def number_of(topic_id: bytes) -> str:
    return str(int.from_bytes(topic_id, "big"))


def assign_question(name: str, alike: bool, counts: dict[int, int], members: Sequence[Subject]) -> str:
    said = [
        "|".join(
            (
                member.member_id,
                member.instance_id or "",
                ",".join(map(number_of, member.topics)),
                ",".join(f"{number_of(key)}:{'.'.join(map(str, has))}" for key, has in member.target.items()),
            )
        )
        for member in members
    ]
    topics = ",".join(f"{number}={count}" for number, count in counts.items())
    return "\t".join(["assign", name, "alike" if alike else "differ", topics, *said])


HASHED = [
    ("t", 1, ""),
    ("orders.v2", 7_000_000_000, ",,"),
    ("racks", -5, "b.a,,c"),
    ("x" * 249, 3, ",".join(["rack-one.rack-two"] * 40)),
    ("many", 4, "," * 999),
]


@pytest.fixture(scope="module")
def answers() -> list[list[str]]:
    """Kafka's, in the order of the questions below."""
    if absent := jars.missing():
        pytest.fail(absent)
    asked = [assign_question(*case) for case in cases()]
    asked += ["\t".join(("hash", name, str(number), racks)) for name, number, racks in HASHED]
    asked += ["\t".join(("match", pattern, *NAMES)) for pattern in [*PATTERNS, *DIFFERENT]]
    done = subprocess.run(
        jars.java(str(Path(__file__).with_name("ConsumerOracle.java"))),
        input="\n".join(asked) + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    found = [line.split("\t")[1:] for line in done.stdout.splitlines() if line.startswith("answer\t")]
    assert len(found) == len(asked), done.stderr
    return found


def test_assignments_are_kafkas(answers: list[list[str]]) -> None:
    """Partition by partition, from the members in one order and the topics in that of its hash set."""
    for (name, alike, counts, members), (order, *lines) in zip(cases(), answers, strict=False):
        topics = [id_of(int(number)) for number in order.split(",") if number]
        ordered = [
            replace(member, topics=tuple(topic for topic in topics if topic in member.topics)) for member in members
        ]
        ours = ASSIGNORS[name](ordered, {id_of(number): count for number, count in counts.items()}, alike=alike)
        theirs: dict[str, Target] = {member.member_id: {} for member in members} | {
            member: {
                id_of(int(each.split(":")[0])): tuple(map(int, each.split(":")[1].split(".")))
                for each in has.split(",")
                if each
            }
            for member, has in (line.split("|") for line in lines)
        }
        assert ours == theirs, (name, alike, counts, members)


class InRacks(MemoryTopics):
    """A topic whose replicas have racks."""

    def __init__(self, placed: list[list[str]]) -> None:
        super().__init__()
        self.placed = placed

    def racks(self, topic: TopicView) -> Racks:
        return self.placed


def test_hashes_are_kafkas(answers: list[list[str]]) -> None:
    """So that a group of a directory of Kafka's finds its topics unchanged."""
    for (name, number, racks), (topic_hash, group_hash) in zip(HASHED, answers[len(cases()) :], strict=False):
        topic_id = b"".join((each % 2**64).to_bytes(8, "big") for each in (number, number + 1))
        topics = InRacks([list(filter(None, each.split("."))) for each in racks.split(",")])
        topics._put(TopicView(name, topic_id, len(topics.placed)))
        cluster = Cluster(topics, Patterns(_core.check_pattern, _core.match_patterns), _core.xxh3_64, lambda _: {})
        assert cluster.hashes.of_group([name, "not there"]) == int(group_hash)
        assert cluster.hashes._known[name] == int(topic_hash) % 2**64


def test_patterns_mean_what_they_mean_to_kafka(answers: list[list[str]]) -> None:
    """The names each matches as a whole, and what is refused; where they differ the difference is known."""
    found = {}
    for pattern, (*theirs,) in zip([*PATTERNS, *DIFFERENT], answers[len(cases()) + len(HASHED) :], strict=True):
        refused = _core.check_pattern(pattern) is not None
        ours = None if refused else _core.match_patterns([pattern], NAMES)[0]
        known = None if theirs == ["!"] else [name for name in theirs if name]
        if known != ours:
            found[pattern] = (known, ours)
    assert found == DIFFERENT


def test_patterns_are_bounded() -> None:
    """What would grow without measure is refused, and matching does not go astray."""
    assert _core.check_pattern("(((a{900}){900}){900})") is not None
    assert _core.check_pattern("a" * 20_000) is not None
    assert _core.match_patterns(["(a*)*(a*)*b"], ["a" * 249]) == [[]]
