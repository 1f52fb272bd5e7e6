"""The short form of `make soak`."""

from __future__ import annotations

import pytest

from tests.conftest import MakeBroker
from tests.soak import SETTINGS, soak


@pytest.mark.long
@pytest.mark.ottla
@pytest.mark.timeout(1500)
def test_ten_minutes_past_retention(make_broker: MakeBroker) -> None:
    """Memory, descriptors and the data directory stay where they are; every acknowledged record is read once."""
    soak(make_broker(SETTINGS), minutes=10, mib_per_s=8, retention_mib=64)
