"""The broker of this folder has some of the kernel's short cuts switched off: each alone, and all.

Its segments are small and its old records leave the page cache, so that all three kinds of reads come up: from memory,
from the disk, and across segments.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.drivers import DRIVERS, Driver
from tests.conftest import TEST_SETTINGS
from tests.processes import OttlaProcess, Process

ALL = ("cachestat", "nowait", "sendfile", "sync_file_range")
WITHOUT = {f"without {name}": [other for other in ALL if other != name] for name in ALL} | {"without any": []}


@pytest.fixture(scope="package", params=WITHOUT)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One for all tests of this folder with the same short cuts."""
    settings = {"ottla.fast.paths": ",".join(WITHOUT[request.param]), "log.segment.bytes": str(1 << 20)}
    process = OttlaProcess(tmp_path_factory.mktemp("broker"), {**TEST_SETTINGS, **settings})
    process.start()
    yield process
    process.stop_without_fault()


@pytest.fixture
def driver(broker: Process) -> Driver:
    """That of librdkafka alone: the records are the same whoever reads them."""
    return DRIVERS["librdkafka"](broker.bootstrap)
