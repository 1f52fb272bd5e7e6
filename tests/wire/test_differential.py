"""Ottla and Apache Kafka answer the same: every API and version served, well-formed and not, field by field.

With --broker=kafka this compares Kafka with Kafka, which shows that a conversation can be repeated at all.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.processes import Process
from tests.wire.cases import CASES
from tests.wire.differential import converse, differences

pytestmark = pytest.mark.kafka


def known_rows(ours: Any, theirs: Any) -> tuple[Any, Any]:
    """ApiVersions is compared where Ottla serves an API at all; the features only by what Ottla finalizes."""

    def cut(answer: Any) -> Any:
        kept = {row["api_key"] for row in ours["api_keys"]}
        rest = {key: value for key, value in answer.items() if key not in ("supported_features", "finalized_features")}
        rest.pop("finalized_features_epoch", None)  # an offset of the metadata log
        return {**rest, "api_keys": [row for row in answer["api_keys"] if row["api_key"] in kept]}

    return cut(ours), cut(theirs)


@pytest.mark.parametrize("name", CASES)
def test_answers_equal_kafkas(name: str, broker: Process, reference: Process) -> None:
    """The conversation of this name and version goes the same way with both."""
    ours, theirs = converse(name, broker), converse(name, reference)
    assert [label for label, _ in ours] == [label for label, _ in theirs]
    found = []
    for (label, our), (_, their) in zip(ours, theirs, strict=True):
        pair = (our, their)
        if label == "api_versions" and isinstance(our, dict) and isinstance(their, dict):
            pair = known_rows(our, their)
        found += [f"{label}{line}" for line in differences(*pair)]
    assert not found, "\n".join(found)
