"""What clients name themselves and their groups ends up in the log: as literals, cut, never as lines of their own."""

from __future__ import annotations

import logging

import pytest

from tests.coordinator.world import World

FORGED = "x\n2026-01-01 00:00:00 ERROR ottla: all is lost " + "y" * 30_000


def test_no_text_of_a_client_forges_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """A group's whole life, with names and a reason that hold line breaks and thousands of characters."""
    caplog.set_level(logging.INFO, "ottla")
    world = World()
    world.stable_group(2, group=FORGED)
    member_id, _ = world.member(client=FORGED, group=FORGED)
    world.leave((member_id, None), group=FORGED)
    world.join(client=FORGED, group=FORGED, instance=FORGED)
    world.wait(120_000)
    messages = [record.getMessage() for record in caplog.records]
    assert any("rebalance after generation" in message for message in messages)
    assert any("was not heard of" in message for message in messages)
    assert not [message for message in messages if "\n" in message or len(message) > 1000]
