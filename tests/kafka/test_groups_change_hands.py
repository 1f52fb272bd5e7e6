"""A group of the consumer protocol goes on where it was when its directory changes hands, in both directions."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import TEST_SETTINGS
from tests.kafka.broker import KafkaProcess
from tests.processes import OttlaProcess, Process
from tests.wire.cases.consumer_groups import Consumer, prepare
from tests.wire.differential import Talk

# Nobody sends heartbeats while the directory is copied and the other broker starts.
SETTINGS = {**TEST_SETTINGS, "group.consumer.session.timeout.ms": "45000"}


@pytest.mark.kafka
@pytest.mark.ottla
@pytest.mark.parametrize("way", [(OttlaProcess, KafkaProcess), (KafkaProcess, OttlaProcess)], ids=["away", "back"])
def test_members_keep_epoch_and_partitions(
    tmp_path: Path, unique: str, way: tuple[type[Process], type[Process]]
) -> None:
    """Each member's next heartbeat is answered as if nothing had happened: the same epoch, nothing new to own. (The
    hash of the topics is the same, too, or the epoch would grow.) Then the group lives on.
    """
    first, second = (kind(tmp_path / kind.name, SETTINGS) for kind in way)
    try:
        first.start()
        talk = Talk(first, unique)
        prepare(talk, partitions=4)
        one, two = Consumer(talk, 1, "one", talk.topic()), Consumer(talk, 1, "two", talk.topic(), instance_id="i")
        one.join("joins")
        two.join("joins")
        for member in (one, one, two, two):
            member.beat("settles")
        assert [part["partitions"] for member in (one, two) for part in member.owned] == [[0, 1], [2, 3]]
        talk.close()
        first.kill()
        shutil.copytree(first.data_dir, second.data_dir)
        second.start()
        talk = Talk(second, unique)
        talk.coordinate(talk.topic())
        for member in (one, two):
            member.talk = talk
            answer = member.beat("is still there")
            assert (answer["error_code"], answer["member_epoch"]) == ("none", member.epoch)
            assert answer["assignment"] is None
        one.leave("leaves")
        two.beat("takes over")
        assert [part["partitions"] for part in two.owned] == [[0, 1, 2, 3]]
        talk.close()
    finally:
        first.kill()
        second.kill()
