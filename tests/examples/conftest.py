"""The runs that the tests of this folder ask about, begun together before the first of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.examples.plays import Play, play, readme_commands
from tests.processes import Process

# A reader that is killed is missed sooner than a broker with Kafka's own bounds would.
MORE = {"riders": ("--session-timeout-ms", "3000")}
AT_ONCE = 3

Plays = Callable[[str, str], Play]


@pytest.fixture(scope="session")
def plays(request: pytest.FixtureRequest, broker: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plays]:
    """`plays(example, how)`: `plain` with the embedded broker, `kill` with a kill, against the broker under test.

    Which runs will be wanted, the tests say by `pytest.mark.plays`. They run several at once.
    """
    wanted = dict.fromkeys(
        mark.args for item in request.session.items for mark in item.iter_markers("plays") if not skipped(item)
    )
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs: dict[tuple[str, ...], Future[Play]] = {}
        for example, how in wanted:
            plain, kill = readme_commands(example)
            folder = tmp_path_factory.mktemp(f"{example}-{how}")
            where = "" if how == "plain" else broker.bootstrap
            picture = ("--out", str(folder / "out")) if example == "riders" else ()
            more = (*MORE.get(example, ()), *picture)
            runs[example, how] = pool.submit(play, plain if how == "plain" else kill, folder, where, *more)
        yield lambda example, how: runs[example, how].result()
        pool.shutdown(cancel_futures=True)


def skipped(item: pytest.Item) -> bool:
    return next(item.iter_markers("skip"), None) is not None
