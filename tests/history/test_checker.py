"""Each anomaly in a history made by hand that has it, beside a neighbour that has not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.history import events
from tests.history.checker import assert_clean, check, load, save
from tests.history.events import BadHistory, Recorder
from tests.history.findings import Kind
from tests.history.hand import GROUP, TOPIC, Hand


def test_two_values_at_one_offset() -> None:
    """Two producers were told the same offset; or a consumer got another value than was acknowledged there."""
    one = Hand().write("p", "a", 0)
    one.fork().write("q", "b", 0).shows(Kind.TWO_VALUES)
    one.fork().send("q", "b").poll("c", (0, "b")).shows(Kind.TWO_VALUES)
    one.fork().write("q", "b", 1).poll("c", (0, "a"), (1, "b")).shows()
    one.fork().write("q", "b", 0, partition=1).shows()


def test_one_record_at_two_offsets() -> None:
    """A repeated request was appended again, in the same partition or in another."""
    one = Hand().write("p", "a", 0)
    one.fork().poll("c", (0, "a"), (1, "a")).shows(Kind.DUPLICATE)
    one.fork().poll("c", (0, "a")).poll("c", (0, "a"), partition=1).shows(Kind.DUPLICATE)
    one.fork().poll("c", (0, "a")).poll("d", (0, "a")).shows()


def test_lost_write_by_a_reader_of_everything() -> None:
    """Acknowledged, and not there for who read the whole partition: in the middle, or at the end."""
    three = Hand().write("p", "a", 0).write("p", "b", 1).write("p", "c", 2)
    three.fork().complete("r", 2, (0, "a"), (1, "b")).shows(Kind.LOST_WRITE)
    three.fork().complete("r", 3, (0, "a"), (2, "c")).shows(Kind.LOST_WRITE, Kind.SKIPPED_POLL)
    three.fork().complete("r", 3, (0, "a"), (1, "b"), (2, "c")).shows()
    three.fork().complete("r", 3, (1, "b"), (2, "c"), first=1).shows()


def test_lost_write_that_readers_went_past() -> None:
    """Without a reader of everything: somebody was given what lies behind, and nobody the record."""
    two = Hand().write("p", "a", 5).write("p", "b", 6)
    two.fork().poll("c", (6, "b")).shows(Kind.LOST_WRITE)
    two.fork().poll("c", (6, "b")).poll("d", (5, "a")).shows()
    two.fork().poll("c", (5, "a")).shows()


def test_uncertain_writes_may_be_there_or_not() -> None:
    """Time-outs and errors say nothing; a failure that is final does."""
    sent = Hand().write("p", "a", 0).send("p", "b").send("p", "c").failed("p", "c", definite=False)
    sent.fork().complete("r", 1, (0, "a")).shows()
    sent.fork().complete("r", 3, (0, "a"), (1, "b"), (2, "c")).shows()
    final = sent.fork().send("p", "d").failed("p", "d", definite=True)
    final.fork().complete("r", 1, (0, "a")).shows()
    final.fork().complete("r", 2, (0, "a"), (1, "d")).shows(Kind.PHANTOM_READ)


def test_a_record_that_nobody_sent() -> None:
    """A value that no program of the run wrote; topics whose writers tell nothing are not judged."""
    Hand().write("p", "a", 0).poll("c", (0, "a"), (1, "x")).shows(Kind.PHANTOM_READ)
    Hand().poll("c", (0, "a"), (1, "x")).shows()


def test_aborted_read() -> None:
    """read_committed shows nothing of a transaction whose client was told that it is aborted, or never committed."""
    begun = Hand().begin("p").write("p", "a", 0, txn="1")
    told = begun.fork().aborted("p")
    told.fork().poll("c", (0, "a")).shows(Kind.ABORTED_READ)
    told.fork().poll("c", (0, "a"), isolation="uncommitted").shows()
    told.fork().write("q", "b", 2).complete("r", 3, (2, "b")).shows()
    begun.fork().poll("c", (0, "a")).shows(Kind.ABORTED_READ)
    begun.fork().commit("p").poll("c", (0, "a")).shows()


def test_early_read() -> None:
    """read_committed shows nothing of a transaction that is committed later."""
    begun = Hand().begin("p").write("p", "a", 0, txn="1")
    begun.fork().poll("c", (0, "a")).committed("p").shows(Kind.EARLY_READ)
    begun.fork().committed("p").poll("c", (0, "a")).shows()
    begun.fork().poll("c", (0, "a"), isolation="uncommitted").committed("p").shows()


def test_a_transaction_is_whole() -> None:
    """Who sees one of its records at read_committed knows that it is committed: then all of them stand."""
    both = Hand().begin("p").write("p", "a", 0, txn="1").write("p", "b", 0, partition=1, txn="1").commit("p")
    both.fork().complete("r", 1, (0, "a")).complete("r", 1, partition=1).shows(Kind.LOST_WRITE)
    both.fork().complete("r", 1, (0, "a")).complete("r", 1, (0, "b"), partition=1).shows()
    both.fork().complete("r", 2).complete("r", 2, partition=1).shows()


def test_a_committed_transaction_has_all_it_sent() -> None:
    """A client that says committed has flushed: what it had sent is there, acknowledged or not."""
    begun = Hand().begin("p").send("p", "a", txn="1").write("p", "b", 1, txn="1")
    begun.fork().committed("p").complete("r", 3, (1, "b")).shows(Kind.LOST_WRITE)
    begun.fork().committed("p").complete("r", 3, (0, "a"), (1, "b")).shows()
    begun.fork().aborted("p").complete("r", 3).shows()


def test_backward_poll() -> None:
    """The same offset again, or an earlier one, unless the consumer was sent there."""
    read = Hand().write("p", "a", 0).write("p", "b", 1).poll("c", (0, "a"), (1, "b"))
    read.fork().poll("c", (0, "a"), (1, "b")).shows(Kind.BACKWARD_POLL)
    read.fork().poll("c", (1, "b")).shows(Kind.BACKWARD_POLL)
    read.fork().tell(events.Seek, "c", positions=[(TOPIC, 0, 0)]).poll("c", (0, "a"), (1, "b")).shows()
    read.fork().assigned("c", 0).poll("c", (0, "a")).shows()
    read.fork().poll("d", (0, "a")).shows()


def test_skipped_poll() -> None:
    """A visible record between two that the consumer was given; what is aborted leaves a hole that is none."""
    three = Hand().write("p", "a", 0).write("p", "b", 1).write("p", "c", 2).poll("d", (0, "a"), (1, "b"), (2, "c"))
    three.fork().poll("c", (0, "a"), (2, "c")).shows(Kind.SKIPPED_POLL)
    three.fork().poll("c", (0, "a")).poll("c", (2, "c")).shows(Kind.SKIPPED_POLL)
    three.fork().poll("c", (0, "a"), (1, "b"), (2, "c")).shows()
    three.fork().poll("c", (0, "a")).assigned("c", 0).poll("c", (2, "c")).shows()
    three.fork().tell(events.Seek, "c", positions=[(TOPIC, 0, 1)]).poll("c", (2, "c")).shows(Kind.SKIPPED_POLL)
    hole = Hand().write("p", "a", 0).begin("q").write("q", "x", 1, txn="1").aborted("q").write("p", "b", 3)
    hole.fork().poll("c", (0, "a"), (3, "b")).shows()
    hole.fork().poll("c", (0, "a"), (3, "b"), isolation="uncommitted").shows(Kind.SKIPPED_POLL)


def test_nonmonotonic_send() -> None:
    """Two records of one producer change places; those of two producers may, while both are under way."""
    both = Hand().send("p", "a").send("p", "b")
    both.fork().sent("p", "a", 1).sent("p", "b", 0).shows(Kind.NONMONOTONIC_SEND)
    both.fork().sent("p", "b", 0).poll("c", (0, "b"), (1, "a")).shows(Kind.NONMONOTONIC_SEND)
    both.fork().sent("p", "a", 0).sent("p", "b", 1).shows()
    Hand().send("p", "a").send("q", "b").sent("p", "a", 1).sent("q", "b", 0).shows()


def test_overtaken_send() -> None:
    """What is sent after another's acknowledgement lies behind it."""
    Hand().write("p", "a", 7).write("q", "b", 6).shows(Kind.OVERTAKEN_SEND)
    Hand().write("p", "a", 7).write("q", "b", 8).shows()
    Hand().write("p", "a", 7).write("q", "b", 6, partition=1).shows()


def test_circles_of_writes_are_told_but_allowed() -> None:
    """Two transactions at once may each be first in one partition: Kafka does not keep writers apart."""
    both = Hand().begin("p").begin("q")
    both.send("p", "a", txn="1").send("q", "b", txn="1").send("p", "c", 1, txn="1").send("q", "d", 1, txn="1")
    crossed = both.fork().sent("p", "a", 0).sent("q", "b", 1).sent("p", "c", 1, 1).sent("q", "d", 0, 1)
    crossed = crossed.committed("p").committed("q")
    crossed.shows(Kind.WRITE_CYCLE)
    assert crossed.verdict().anomalies == []
    straight = both.fork().sent("p", "a", 0).sent("q", "b", 1).sent("p", "c", 0, 1).sent("q", "d", 1, 1)
    straight.committed("p").committed("q").shows()


def test_circles_of_reads() -> None:
    """Two transactions cannot each have been given what the other wrote, were each other's records committed."""
    both = Hand().begin("p").begin("q").write("p", "a", 0, txn="1").write("q", "b", 0, partition=1, txn="1")
    one = both.fork().commit("p").poll("q", (0, "a"), txn="q/1")
    one.fork().committed("q").shows()
    circle = one.fork().commit("q").poll("p", (0, "b"), partition=1, txn="p/1")
    circle.shows(Kind.READ_CYCLE)


def test_fenced_producer() -> None:
    """A newer producer with the same transactional id was initialized: what the older one tries later has no effect."""
    first = Hand().tell(events.Initialized, "p", transactional_id="x").begin("p").write("p", "a", 0, txn="1")
    fenced = first.fork().tell(events.Initialized, "q", transactional_id="x")
    fenced.fork().committed("p").shows(Kind.FENCED_WRITE)
    fenced.fork().commit("p").poll("c", (0, "a")).shows(Kind.FENCED_WRITE)
    fenced.fork().commit("p").complete("r", 2).shows()
    first.fork().committed("p").tell(events.Initialized, "q", transactional_id="x").shows()
    first.fork().tell(events.Initialized, "q", transactional_id="y").committed("p").shows()


def test_repeated_and_missing_effects() -> None:
    """An input whose output is there twice, or not at all; programs that may do it twice are asked not to lose it."""
    source = Hand().tell(events.Send, "feed", topic="in", partition=0, value="i")
    source.tell(events.Sent, "feed", topic="in", partition=0, offset=0, value="i")
    source.tell(events.Complete, "r", topic="in", partition=0, first=0, end=1)
    source.tell(events.Poll, "r", isolation="committed", records=[("in", 0, 0, "i")])
    first = source.fork().begin("p").write("p", "i by p", 0, txn="1", cause=("in", 0, 0))
    again = first.fork().commit("p").begin("q").write("q", "i by q", 2, txn="1", cause=("in", 0, 0)).committed("q")
    again.fork().poll("c", (0, "i by p"), (2, "i by q")).shows(Kind.REPEATED_EFFECT)
    again.fork().poll("c", (0, "i by p"), (2, "i by q")).shows(exactly_once=False)
    again.fork().poll("c", (2, "i by q")).shows()
    first.fork().aborted("p").complete("c", 2).shows(Kind.MISSING_EFFECT)


def test_two_owners_at_a_time() -> None:
    """Before the one gave the partition up in order, or while its commits were still taken, another had it."""
    one = Hand().assigned("m", 0, 1)
    one.fork().assigned("n", 1).revoked("m", 0, 1).shows(Kind.OWNED_TWICE)
    one.fork().revoked("m", 1).assigned("n", 1).shows()
    one.fork().assigned("n", 1).commit_offset("m", 3, 1).shows(Kind.OWNED_TWICE)
    one.fork().commit_offset("m", 3, 1).assigned("n", 1).shows()
    one.fork().assigned("n", 1).ask_to_commit("m", 3, 1).shows()


def test_who_cannot_know_is_no_second_owner() -> None:
    """A member that was stopped, killed, told that it is late, or that just closes may have lost what it had."""
    one = Hand().assigned("m", 0)
    one.fork().assigned("n", 0).lost("m", 0).shows()
    one.fork().assigned("n", 0).shows()
    one.fork().assigned("n", 0).revoked("m", 0, closing=True).shows()
    stopped = one.fork().tell(events.Fault, "faults", what="pause", target="m").assigned("n", 0)
    stopped.fork().revoked("m", 0).shows()
    stopped.fork().commit_offset("m", 3).revoked("m", 0).shows(Kind.OWNED_TWICE)


def test_who_is_given_it_again_was_without_it() -> None:
    """A member that does not say when a partition goes; what was committed before and after counts all the same."""
    one = Hand().assigned("m", 0)
    one.fork().assigned("n", 0).lost("n", 0).assigned("m", 0).revoked("m", 0).shows()
    again = one.fork().assigned("n", 0).commit_offset("m", 3).lost("n", 0).assigned("m", 0)
    again.revoked("m", 0).shows(Kind.OWNED_TWICE)
    one.fork().assigned("m", 0).assigned("n", 0).revoked("m", 0).shows(Kind.OWNED_TWICE)


def test_two_owners_in_one_generation() -> None:
    """A generation has one assignment."""
    one = Hand().assigned("m", 0, generation=4).lost("m", 0)
    one.fork().assigned("n", 0, generation=4).shows(Kind.OWNED_TWICE)
    one.fork().assigned("n", 0, generation=5).shows()


def test_committed_offset_goes_back() -> None:
    """A commit that was asked for after a higher one was acknowledged, and was taken."""
    one = Hand().commit_offset("m", 5)
    one.fork().commit_offset("n", 3).shows(Kind.COMMIT_BACK)
    one.fork().ask_to_commit("n", 3).shows()
    one.fork().commit_offset("n", 3, partition=1).commit_offset("n", 5).shows()
    early = Hand().ask_to_commit("n", 3).commit_offset("m", 5)
    early.tell(events.OffsetsCommitted, "n", group=GROUP, offsets=[(TOPIC, 0, 3)]).shows()
    by_txn = one.fork().begin("p").ask_to_commit("p", 4, txn="1")
    by_txn.fork().committed("p").shows(Kind.COMMIT_BACK)
    by_txn.fork().aborted("p").shows()


def test_committed_offset_is_lost() -> None:
    """A member that takes a partition over does not begin before what was acknowledged; an uncertain commit is none."""
    one = Hand().commit_offset("m", 5)
    one.fork().assigned("n", 0).poll("n", (3, "x"), group=GROUP).shows(Kind.COMMIT_LOST)
    one.fork().assigned("n", 0).poll("n", (5, "x"), group=GROUP).shows()
    Hand().ask_to_commit("m", 5).assigned("n", 0).poll("n", (3, "x"), group=GROUP).shows()
    Hand().assigned("n", 0).commit_offset("m", 5).poll("n", (3, "x"), group=GROUP).shows()


def test_undelivered() -> None:
    """A group that should have had everything by now; others need not."""
    two = Hand().write("p", "a", 0).write("p", "b", 1).poll("m", (0, "a"), group=GROUP)
    two.fork().tell(events.Drained, "test", group=GROUP, topics=[TOPIC]).shows(Kind.UNDELIVERED)
    both = two.fork().poll("n", (1, "b"), group=GROUP)
    both.fork().tell(events.Drained, "test", group=GROUP, topics=[TOPIC]).shows()
    both.fork().tell(events.Drained, "test", group=GROUP, topics=[TOPIC]).write("p", "c", 2).shows()
    two.fork().shows()


@pytest.mark.parametrize(
    "wrong",
    [
        Hand().send("p", "a").send("q", "a"),
        Hand().sent("p", "a", 0),
        Hand().begin("p").begin("p"),
        Hand().committed("p"),
        Hand().begin("p").aborted("p").committed("p"),
    ],
    ids=["sent twice", "never sent", "begun twice", "never begun", "both outcomes"],
)
def test_what_cannot_be_judged_is_refused(wrong: Hand) -> None:
    """A program that tells nonsense is mended, not judged."""
    with pytest.raises(BadHistory):
        wrong.verdict()


def test_a_history_in_a_file(tmp_path: Path) -> None:
    """Events survive the file, are put in order of time, and a line that a kill cut short is no event."""
    path = tmp_path / "history"
    hand = Hand().begin("p").write("p", "a", 0, txn="1", cause=("in", 1, 2)).committed("p").poll("c", (0, "a"))
    hand.write("p", "b", 2)
    recorder = Recorder(path)
    for event in sorted(hand.events, key=lambda each: each.process):
        recorder.tell(event)
    recorder.line(b'{"event":"se')
    recorder.close()
    path.write_bytes(path.read_bytes()[:-1])
    assert load(path) == hand.events
    save(hand.events, path)
    assert load(path) == hand.events
    with pytest.raises(BadHistory, match="unknown field"):
        events.decode(b'{"event": "begin", "at": 1, "process": "p", "txn": "t", "more": 1}')


def test_the_report_shows_what_happened(tmp_path: Path) -> None:
    """A failure names the kind, says what is wrong in a sentence, and shows the events in their order."""
    path = tmp_path / "history"
    save(Hand().begin("p").write("p", "a", 0, txn="1").aborted("p").poll("c", (0, "a")).events, path)
    with pytest.raises(AssertionError) as caught:
        assert_clean(path)
    shown = str(caught.value).splitlines()
    assert shown[0] == str(path)
    assert shown[2] == "ABORTED_READ: a record of an aborted transaction was read; 1 found"
    assert shown[3] == "  t-0@0 'a', given to c, is of p/1, which was aborted"
    assert [line.split()[3:5] for line in shown[4:]] == [["p", "begin"], ["p", "send"], ["p", "aborted"], ["c", "poll"]]


def test_a_run_in_which_nothing_happened_is_refused(tmp_path: Path) -> None:
    """A clean history of too little shows nothing."""
    path = tmp_path / "history"
    save(Hand().write("p", "a", 0).events, path)
    assert_clean(path, at_least={"sent": 1})
    with pytest.raises(AssertionError, match="sent is 1, 2 wanted"):
        assert_clean(path, at_least={"sent": 2})


def test_a_long_history_is_judged() -> None:
    """120,000 events take a few seconds; a check that compared all with all would meet the time limit of a test."""
    hand = Hand()
    for number in range(20_000):
        hand.begin("p", str(number)).write("p", f"v{number}", 3 * number, txn=str(number))
        hand.write("q", f"w{number}", 3 * number + 1).committed("p", str(number))
        hand.poll("c", (3 * number, f"v{number}"), (3 * number + 1, f"w{number}"))
        hand.commit_offset("c", 3 * number + 1)
    verdict = check(hand.events)
    assert verdict.findings == []
    assert verdict.counts["transactions_committed"] == 20_000
