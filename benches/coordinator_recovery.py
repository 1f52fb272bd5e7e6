"""Restart after SIGKILL with 1,000 groups and 1,000 transactional ids: until each of them is answered for correctly.

Before the kill every group commits offsets of `PARTITIONS` partitions, twice, and every transactional id commits
one transaction and, each tenth, leaves another open. After it the broker is asked OffsetFetch for all groups and
DescribeTransactions for all ids that have not been answered for yet, until every offset and every state was the right
one; the clock runs from the launch of the process. Each round has a new data directory.

Of what Kafka takes the better part is no loading: its controller holds the node that was killed for alive until its
session ends (`broker.session.timeout.ms`, 9 s). The time from the first answer of a coordinator, any but that it is not
there, to the last right one is told beside it.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benches.link import ASK_EVERY_S, Link, create_topic, wait_for_groups, wait_for_transactions
from benches.peers import Peer, make_peers
from benches.rounds import Round, interleaved, summary
from benches.transactions import Producer
from ottla.errors import ErrorCode
from ottla.messages import (
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
)
from tests.processes import Process

COUNT = 1_000
TOPIC = "recovered"
PARTITIONS = 4
COMMITS_EACH = 2
OPEN_EVERY = 10
ROUNDS = 3
ANSWERED_WITHIN_S = 120.0
GROUPS = [f"group-{number}" for number in range(COUNT)]
TRANSACTIONAL_IDS = [f"producer-{number}" for number in range(COUNT)]
# What a coordinator says that does not serve yet.
ABSENT = {ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS}


def offset_of(group: int, partition: int) -> int:
    """What the group committed last."""
    return group * 100 + partition * 10 + COMMITS_EACH - 1


def state_of(number: int) -> str:
    """In which the transactional id was left."""
    return "Ongoing" if number % OPEN_EVERY == 0 else "CompleteCommit"


def fill_groups(process: Process) -> None:
    link = Link(process)
    for number, group in enumerate(GROUPS):
        for commit in range(COMMITS_EACH):
            partitions = [
                OffsetCommitRequestPartition(
                    partition_index=index, committed_offset=offset_of(number, index) - COMMITS_EACH + 1 + commit
                )
                for index in range(PARTITIONS)
            ]
            topics = [OffsetCommitRequestTopic(name=TOPIC, partitions=partitions)]
            answer = link.ask(8, OffsetCommitRequest(group_id=group, topics=topics))
            assert isinstance(answer, OffsetCommitResponse)
            assert not any(each.error_code for each in answer.topics[0].partitions), answer
    link.close()


def fill_transactions(peer: Peer) -> None:
    for number, transactional_id in enumerate(TRANSACTIONAL_IDS):
        producer = Producer(peer, transactional_id, TOPIC, number % PARTITIONS)
        producer.init()
        producer.produce()
        while not producer.react():
            pass
        if state_of(number) == "Ongoing":
            producer.begin()
        producer.link.close()


class Question:
    """What is asked of one coordinator, by name, until each was answered for."""

    def __init__(self, names: Iterable[str]) -> None:
        self.waiting = dict.fromkeys(names)
        self.first_s: float | None = None

    def answered(self, name: str, code: int, begun_s: float, *, right: bool) -> None:
        if self.first_s is None and code not in ABSENT:
            self.first_s = time.perf_counter() - begun_s
        if right:
            self.waiting.pop(name, None)
        elif not code:
            raise RuntimeError(f"{name} is not what it was before the kill")


def ask_groups(link: Link, question: Question, begun_s: float) -> None:
    topics = [OffsetFetchRequestTopics(name=TOPIC, partition_indexes=list(range(PARTITIONS)))]
    asked = [OffsetFetchRequestGroup(group_id=name, topics=topics) for name in question.waiting]
    answer = link.ask(9, OffsetFetchRequest(groups=asked, require_stable=True))
    assert isinstance(answer, OffsetFetchResponse)
    for group in answer.groups:
        number = int(group.group_id.removeprefix("group-"))
        found = {each.partition_index: each.committed_offset for topic in group.topics for each in topic.partitions}
        right = found == {index: offset_of(number, index) for index in range(PARTITIONS)}
        # A code of one partition says that of the group.
        codes = {each.error_code for topic in group.topics for each in topic.partitions}
        code = group.error_code or max(codes, default=0)
        question.answered(group.group_id, code, begun_s, right=right and not code)


def ask_transactions(link: Link, question: Question, begun_s: float) -> None:
    answer = link.ask(65, DescribeTransactionsRequest(transactional_ids=list(question.waiting)))
    assert isinstance(answer, DescribeTransactionsResponse)
    for state in answer.transaction_states:
        number = int(state.transactional_id.removeprefix("producer-"))
        right = state.transaction_state == state_of(number)
        # What was decided before the kill may still be on its way to the partitions.
        code = state.error_code
        if not code and state.transaction_state.startswith("Prepare"):
            code = ErrorCode.CONCURRENT_TRANSACTIONS
        question.answered(state.transactional_id, code, begun_s, right=right)


def restart(process: Process) -> Round:
    """From launch until everything was answered for."""
    groups, transactions = Question(GROUPS), Question(TRANSACTIONAL_IDS)
    begun_s = time.perf_counter()
    groups_s = transactions_s = 0.0
    process.launch()
    while not (groups_s and transactions_s):
        with contextlib.suppress(OSError):
            link = Link(process)
            try:
                while not (groups_s and transactions_s):
                    if not groups_s:
                        ask_groups(link, groups, begun_s)
                        groups_s = 0.0 if groups.waiting else time.perf_counter() - begun_s
                    if not transactions_s:
                        ask_transactions(link, transactions, begun_s)
                        transactions_s = 0.0 if transactions.waiting else time.perf_counter() - begun_s
                    pause(process, begun_s)
            finally:
                link.close()
        pause(process, begun_s)
    first_s = min(each.first_s or 0.0 for each in (groups, transactions))
    restart_s = max(groups_s, transactions_s)
    return {
        "restart_s": restart_s,
        "groups_s": groups_s,
        "transactions_s": transactions_s,
        "after_first_answer_s": restart_s - first_s,
    }


def pause(process: Process, begun_s: float) -> None:
    """A little, for the broker to go on."""
    if time.perf_counter() - begun_s > ANSWERED_WITHIN_S:
        raise RuntimeError(f"{process.name} does not answer for everything:\n{process.tail()}")
    with contextlib.suppress(subprocess.TimeoutExpired):
        raise RuntimeError(f"{process.name} ended with {process.wait_ended(ASK_EVERY_S)}:\n{process.tail()}")


def one_round(folder: Path, name: str) -> Round:
    """A new broker, filled, killed and started again."""
    (peer,) = make_peers(folder, [name])
    process = peer.process
    try:
        process.start()
        create_topic(process, TOPIC, PARTITIONS)
        wait_for_groups(process, "nobody")
        wait_for_transactions(process, "nobody")
        fill_groups(process)
        fill_transactions(peer)
        process.kill()
        return restart(process)
    finally:
        process.kill()
        shutil.rmtree(folder / name)


def run(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Interleaved rounds; none is for warming up, since a start is cold by nature."""
    rounds: dict[str, list[Round]] = {name: [] for name in names}
    for name in interleaved(names, ROUNDS):
        rounds[name].append(one_round(folder, name))
    figures = ("restart_s", "groups_s", "transactions_s", "after_first_answer_s")
    return {
        "workload": "coordinator-recovery",
        "count": COUNT,
        "rounds": rounds,
        **{figure: {name: summary(done, figure) for name, done in rounds.items()} for figure in figures},
    }
