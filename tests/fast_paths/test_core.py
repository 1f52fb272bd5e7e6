"""What holds with all short cuts holds without some: the tests of produce and consume, and conversations about reading.

The tests are those of `tests/clients` and `tests/wire`; any others run so with `pytest --fast-paths=NAMES`.
"""

from __future__ import annotations

import pytest

from tests.clients.drivers import Driver, Rec, read
from tests.clients.test_produce_consume import (
    test_64_mib_of_records,
    test_empty_and_null_keys_and_values_stay_apart,
    test_reading_from_a_time,
    test_reading_from_an_offset,
    test_records_of_each_partition_keep_their_order,
    test_records_of_every_codec_come_back_in_order,
    test_transactions_one_after_another,
)
from tests.page_cache import drop_page_cache
from tests.processes import Process
from tests.wire.differential import CASES
from tests.wire.test_differential import check_equal

__all__ = [
    "test_64_mib_of_records",
    "test_empty_and_null_keys_and_values_stay_apart",
    "test_reading_from_a_time",
    "test_reading_from_an_offset",
    "test_records_of_each_partition_keep_their_order",
    "test_records_of_every_codec_come_back_in_order",
    "test_transactions_one_after_another",
]
# The highest version of each conversation that reads records or looks them up.
READING = ("fetch", "fetch_session", "fetch_waits_for_news", "fetch_committed", "delete_records", "list_offsets")
TALKS = [
    max((case for case in CASES if case.rpartition("-v")[0] == name), key=lambda case: CASES[case][1])
    for name in READING
]


@pytest.mark.parametrize("name", TALKS)
def test_answers_equal_kafkas(name: str, broker: Process, reference: Process, unique: str) -> None:
    """The conversation goes the same way with both."""
    check_equal(name, broker, reference, topics=unique)


def test_records_from_the_disk(driver: Driver, broker: Process, unique: str) -> None:
    """Old records of several segments that are not in memory any more come back whole, also from the middle."""
    driver.create_topic(unique)
    sent = [Rec(b"%d " % number * 2000) for number in range(1000)]
    driver.produce(unique, sent)
    assert len(list(broker.data_dir.glob(f"{unique}-0/*.log"))) > 3
    for start in (0, 500):
        drop_page_cache(broker.data_dir)
        reader = driver.reader(unique, [0], start)
        try:
            assert [each.value for each in read(reader, 1000 - start)] == [record.value for record in sent[start:]]
        finally:
            reader.close()
