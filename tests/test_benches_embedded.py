"""`ottla.Log` beside other stores: each keeps what it is given, and the table hides no loss."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from benches import embedded_log, report_embedded
from benches.embedded_stores import STORES, SYNCED, TITLES, WRITTEN

if TYPE_CHECKING:
    from pathlib import Path

NEEDS = {"lmdb": "lmdb", "rocksdict": "rocksdict", "persist-queue": "persistqueue"}


@pytest.mark.parametrize("name", STORES)
def test_a_store_keeps_what_it_is_given(name: str, tmp_path: Path) -> None:
    """In order, with what was appended after the next opening; as objects and as columns."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    pytest.importorskip("pyarrow")
    place = tmp_path / "store"
    values = [b"%d" % number for number in range(300)]
    store = STORES[name](place, WRITTEN if name == "persist-queue" else SYNCED)
    store.append_many(values[:200])
    for value in values[200:250]:
        store.append(value)
    store.close()
    store = STORES[name](place, WRITTEN)
    for value in values[250:]:
        store.append(value)
    if name != "persist-queue":
        assert store.scan() == 300
        offsets = [offset for batch in store.columns() for offset in batch.column("offset").to_pylist()]
        assert offsets == list(range(offsets[0], offsets[0] + 300))
    found = [value for batch in store.columns() for value in batch.column("value").to_pylist()]
    store.close()
    assert found == values


@pytest.mark.parametrize("case", sorted(set(embedded_log.CASES) - {"append-alone"}))
def test_a_case_gives_its_figure(case: str, tmp_path: Path) -> None:
    """Of a store that has lost a record it would give none."""
    pytest.importorskip("pyarrow")
    chosen = embedded_log.CASES[case]
    figures = chosen.play(partial(STORES["ottla"], tmp_path / "d", chosen.promise), 500)
    assert figures[chosen.figure] > 0


def test_appends_that_nobody_synced_are_no_figure(tmp_path: Path) -> None:
    """Without the library that slows syncs down, they are faster than can be."""
    with pytest.raises(RuntimeError, match="were not each synced"):
        embedded_log.append_durably(partial(STORES["ottla"], tmp_path / "d", WRITTEN), 0)


def result(case: str, **medians: float) -> dict[str, Any]:
    figures = {name.replace("_", "-"): {"median": m, "low": m - 1, "high": m + 1} for name, m in medians.items()}
    about = embedded_log.CASES[case]
    return {
        "workload": "embedded-log",
        "case": case,
        "counts": dict.fromkeys(figures, 10),
        about.figure: figures,
        "together_per_s": figures,
        "times": figures,
    }


def verdicts(*results: dict[str, Any]) -> list[str]:
    lines = [line for line in report_embedded.table(results) if line.startswith("| ") and "median" not in line]
    return [line.rsplit("|", 2)[1].strip() for line in lines]


def test_losses_are_shown() -> None:
    """A bar that is missed, and any one peer that is better, are losses; what was not measured judges nobody."""
    reached = result("append-many", ottla=2_000_000, sqlite=1, lmdb=1, rocksdict=1, persist_queue=1)
    assert verdicts(reached) == ["met"]
    assert verdicts(result("append-many", ottla=900_000, sqlite=1)) == ["**missed**"]
    assert verdicts(result("append-many", ottla=2_000_000, lmdb=3_000_000)) == ["**missed**"]
    assert verdicts(result("append", ottla=2.0, sqlite=9.0)) == ["met"]
    assert verdicts(result("append", ottla=2.0, sqlite=1.0)) == ["**missed**"]
    assert verdicts(result("scan", ottla=2_000_000, lmdb=3_000_000, sqlite=5)) == ["met"]
    assert verdicts(result("open", ottla=2.0, lmdb=1.0)) == [""]
    assert verdicts(result("append-alone", ottla=15.0, sqlite=20.0)) == ["", "**missed**", "met"]
    assert report_embedded.table([]) == []


def test_every_case_and_store_is_in_the_table() -> None:
    """None is left out, however it does."""
    assert {row.case for row in report_embedded.rows()} == set(embedded_log.CASES)
    head, *_ = (line for line in report_embedded.table([result("scan", ottla=1)]) if "median" in line)
    assert all(title in head for title in TITLES.values())
