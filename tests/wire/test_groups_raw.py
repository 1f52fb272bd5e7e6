"""What raw group members may do to a group that clients never would."""

from __future__ import annotations

import pytest

from tests.processes import Process
from tests.wire.cases.groups import Member
from tests.wire.differential import Talk


@pytest.mark.ottla
@pytest.mark.parametrize(
    "metadata", [b"", b"\0", b"garbage", b"\0\0\x7f\xff\xff\xff"], ids=["empty", "cut", "garbage", "huge"]
)
def test_an_unreadable_subscription_does_not_hold_up_the_group(broker: Process, unique: str, metadata: bytes) -> None:
    """Apache Kafka reads the subscriptions when a generation starts, fails on such a one, and leaves every join of the
    group unanswered. Here the members' words are the members' business: the join is answered.
    """
    talk = Talk(broker, unique)
    talk.coordinate(unique)
    member = Member(talk, unique, 5)
    entries = [{"name": "range", "metadata": metadata}]
    member.join("join", protocols=entries)
    answer = member.join("join", protocols=entries)
    assert (answer["error_code"], answer["generation_id"]) == ("none", 1)
    talk.close()
