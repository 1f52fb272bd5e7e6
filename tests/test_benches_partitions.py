"""The workload of many partitions does what it says, and its figures come into the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benches import many_partitions, many_requests
from benches.batches import plain_batch
from benches.peers import SETTINGS, Peer
from benches.report_partitions import rows
from tests.processes import OttlaProcess
from tests.wire.batches import Batch, Record

if TYPE_CHECKING:
    from pathlib import Path


def test_a_round_is_a_whole_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven topics in requests of three, of which two are made alone: every figure, and a row of the table for each."""
    monkeypatch.setattr(many_partitions, "PER_REQUEST", 3)
    monkeypatch.setattr(many_partitions, "ALONE", 2)
    monkeypatch.setattr(many_partitions, "CPU_S", 0.01)
    done = many_partitions.one_round(tmp_path, "ottla", 7, 3)
    assert done.keys() == many_partitions.FIGURES.keys()
    figures = {name: {"ottla": {"median": value, "low": value, "high": value}} for name, value in done.items()}
    table = rows({"workload": "partitions", "topics": 7, "partitions": 3, **figures})
    assert len(table) == len(many_partitions.FIGURES)
    assert f"| 7 topics x 3: descriptors then | {done['descriptors']:,.1f} (" in "\n".join(table)


def test_records_that_are_not_there_are_no_figure(tmp_path: Path) -> None:
    """A partition that has fewer than were sent, a topic that is not there."""
    process = OttlaProcess(tmp_path / "broker", SETTINGS)
    process.start()
    play = many_partitions.Play(Peer(process, "this"), 3, 2, lambda _: None)
    play.link = many_requests.Wide(process)
    play.done(many_requests.CREATE, many_requests.created(play.names, 2))
    for data in play.frames(lambda names: many_requests.producing(names, 2, many_partitions.VALUE)):
        play.without_errors(many_requests.PRODUCE, play.link.exchange(data))
    with pytest.raises(RuntimeError, match="has 6 of 12 records"):
        play.read_all()
    play.names.append("absent")
    with pytest.raises(RuntimeError, match="2 errors in the answer"):
        play.read_all()
    process.stop_without_fault()


def test_a_plain_batch_is_what_others_make_of_it() -> None:
    """Of no producer, byte by byte."""
    expected = Batch([Record(b"value")], producer_id=-1, producer_epoch=-1, base_sequence=-1)
    assert plain_batch(b"value", Record(b"").timestamp) == expected.encode()
