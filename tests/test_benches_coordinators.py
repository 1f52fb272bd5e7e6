"""The generators of groups and transactions do what they say, and their figures come into the table."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from benches import batches, consumer_rebalance, coordinator_recovery, rebalance, requests, rolling, transactions
from benches.link import Form, frame
from benches.peers import SETTINGS, Peer
from benches.report import markdown
from ottla.messages import HeartbeatRequest
from tests.processes import OttlaProcess
from tests.test_benches import results
from tests.wire.batches import TRANSACTIONAL, Batch, Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    """A broker as the suite runs it."""
    process = OttlaProcess(tmp_path / "broker", SETTINGS)
    process.start()
    yield Peer(process, "this")
    process.stop_without_fault()


@pytest.mark.parametrize("size", [1, 100, 1000])
def test_a_transactional_batch_is_what_others_make_of_it(size: int) -> None:
    """Byte by byte, checksum and lengths too."""
    expected = Batch(
        [Record(bytes(size))], attributes=TRANSACTIONAL, producer_id=1 << 40, producer_epoch=7, base_sequence=3
    )
    assert batches.batch(bytes(size), Record(b"").timestamp, 1 << 40, 7, 3) == expected.encode()


def test_a_form_is_filled_as_if_it_was_encoded_anew() -> None:
    """Wherever the number stands."""

    def heartbeat(generation: int) -> HeartbeatRequest:
        return HeartbeatRequest(group_id="group", generation_id=generation, member_id="member")

    form = Form(12, heartbeat)
    for generation in (-1, 0, 77_000):
        assert form.filled(generation) == frame(12, heartbeat(generation))


def test_partitions_that_have_another_owner_have_moved() -> None:
    """Those that nobody owns meanwhile count once they are owned again."""
    before = {0: 1, 1: 1, 2: 2}
    assert rolling.moved(before, {0: 1, 1: 2, 2: 3}) == 2
    assert rolling.moved(before, {2: 2}) == 0


def test_groups_rebalance(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of both protocols; each ends with every member in the newest generation or epoch."""
    monkeypatch.setitem(rebalance.REBALANCES, 3, 4)
    for play in (rebalance.one_round, consumer_rebalance.one_round):
        played = play(peer, 3)
        assert played["rebalance_ms"] > 0
        assert 0 < played["generator_share"] < 2
    group = rebalance.Group(peer, 3)
    before = group.members[0].generation
    group.rebalance()
    assert {member.generation for member in group.members} == {before + 1}
    group.close()


@pytest.mark.parametrize("kind, least, most", [("slowly", 16, 16), ("at once", 0, 16), ("static", 0, 0)])
def test_restarted_members_move_what_they_must(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, kind: str, least: int, most: int
) -> None:
    """Of four members with two partitions each: what goes away comes back; static members keep theirs."""
    monkeypatch.setattr(rolling, "MEMBERS", 4)
    assert least <= rolling.one_round(peer, kind)["moved"] <= most


@pytest.mark.parametrize("kind", requests.KINDS)
def test_requests_are_answered_for(peer: Peer, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Every one of them without an error."""
    for name, value in {"ROUND_S": 0.1, "CONNECTIONS": 3, "ROUNDS": 1}.items():
        monkeypatch.setattr(requests, name, value)
    found = requests.run([peer], kind, "os")
    assert found["rounds"]["ottla"][0]["requests"] > requests.DEPTH


def test_an_answer_that_says_no_is_noticed(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fast errors are no throughput."""
    monkeypatch.setattr(requests, "ROUND_S", 0.1)
    group = rebalance.Group(peer, 1)
    stream = requests.heartbeats(group.members[0])
    group.members[0].link.ask(13, group.leave_request())
    stream.send(1)
    stream.socket.recv(1, socket.MSG_PEEK)
    with pytest.raises(AssertionError):
        stream.take()
    for member in group.members:
        member.link.close()


@pytest.mark.parametrize("generator", transactions.GENERATORS)
def test_transactions_are_committed(peer: Peer, monkeypatch: pytest.MonkeyPatch, generator: str) -> None:
    """By two producers at once."""
    monkeypatch.setattr(transactions, "ROUND_S", 0.2)
    found = transactions.run([peer], generator, 2, "os")
    assert all(played["transactions"] >= 2 for played in found["rounds"]["ottla"])


def test_coordinators_come_back_with_what_they_knew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offsets of all groups, states of all transactions, open ones among them."""
    monkeypatch.setattr(coordinator_recovery, "GROUPS", coordinator_recovery.GROUPS[:30])
    monkeypatch.setattr(coordinator_recovery, "TRANSACTIONAL_IDS", coordinator_recovery.TRANSACTIONAL_IDS[:30])
    played = coordinator_recovery.one_round(tmp_path, "ottla")
    assert played["restart_s"] == max(played["groups_s"], played["transactions_s"])


def test_a_wrong_answer_after_a_restart_is_no_figure() -> None:
    """An offset that is not the one committed, without an error."""
    question = coordinator_recovery.Question(["group-1"])
    question.answered("group-1", 14, 0.0, right=False)
    assert question.first_s is None
    with pytest.raises(RuntimeError, match="not what it was"):
        question.answered("group-1", 0, 0.0, right=False)
    question.answered("group-1", 0, 0.0, right=True)
    assert not question.waiting


def figure(*medians: float) -> dict[str, dict[str, float]]:
    return {
        name: {"median": median, "low": median, "high": median}
        for name, median in zip(("ottla", "kafka"), medians, strict=True)
    }


def test_every_row_is_read_from_the_results() -> None:
    """Both protocols, counts, durabilities, generators."""
    settled = {"ottla": True, "kafka": False}
    shares = {"generator_share": figure(0.2, 0.3)}
    of_rebalance: dict[str, Any] = {
        "workload": "rebalance",
        "protocol": "consumer",
        "members": 500,
        "rebalance_ms": figure(40, 50),
        "broker_cpu_ms_per_rebalance": figure(20, 60),
        "broker_cpu_us_per_join": figure(40, 120),
        "settled": settled,
        **shares,
    }
    table = markdown(results(of_rebalance))
    assert "| rebalance of 500 members, consumer protocol, a member joins, ms | 40.00 (40.00 to 40.00) |" in table
    assert "not settled | 0.80 |" in table
    of_rolling = {"workload": "rolling", "members": 50, "kinds": {"static": {"moved": figure(0, 0)}}}
    assert "50 members restarted in turn, static | 0 (0 to 0) | 0 (0 to 0) |  |" in markdown(results(of_rolling))
    of_requests = {
        "workload": "requests",
        "kind": "OffsetCommit",
        "connections": 50,
        "durability": "fsync",
        "per_s": figure(9000, 8000),
        "broker_cpu_us": figure(50, 60),
        "settled": settled,
        **shares,
    }
    assert "synced (fsync, flush.messages=1): per s | 9,000 (9,000 to 9,000) |" in markdown(results(of_requests))
    of_transactions = {
        "workload": "transactions",
        "generator": "librdkafka",
        "producers": 1,
        "durability": "os",
        "per_s": figure(300, 200),
        "broker_cpu_us": figure(500, 600),
        "settled": settled,
    }
    assert "| transactions of 1 producer, librdkafka, un-synced: per s | 300" in markdown(results(of_transactions))
    of_recovery = {
        "workload": "coordinator-recovery",
        "count": 1000,
        "restart_s": figure(0.5, 13),
        "after_first_answer_s": figure(0.1, 0.2),
    }
    assert "1,000 groups and 1,000 transactional ids, s | 0.50" in markdown(results(of_recovery))


def test_what_needs_no_other_broker_has_a_table_of_its_own() -> None:
    """With the bars."""
    alone = {
        "workload": "coordinators",
        "partitions": 5000,
        "members": 500,
        "commits": 5_000_000,
        "keys": 50_000,
        "assignments": [{"assignor": "uniform", "alike": True, "rounds": [{"first_ms": 9, "one_more_ms": 8}]}],
        "loads": [{"partitions": 50, "rounds": [{"took_s": 1, "first_s": 0.25, "longest_turn_ms": 99}]}],
        "took_s": 9,
    }
    table = markdown(results(alone))
    assert "| uniform, 5,000 partitions, 500 members, alike: ms | 9 (9 to 9) | < 200 |" in table
    assert "over 50,000 keys, 50 partitions: s | 1.00 (1.00 to 1.00) | about 4 |" in table
    assert "0.25; 99" in table
    assert "(coordinators 9)." in table
