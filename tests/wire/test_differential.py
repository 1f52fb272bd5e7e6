"""Ottla and Apache Kafka answer the same: every API and version served, well-formed and not, field by field.

With --broker=kafka this compares Kafka with Kafka, which shows that a conversation can be repeated at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from tests.processes import Process
from tests.wire.cases import CASES
from tests.wire.client import API, Connection
from tests.wire.differential import LIMITED_CASES, converse_with_both, differences
from tests.wire.requests import SERVED

pytestmark = pytest.mark.kafka


# Where Ottla differs on purpose: the conversation, the place in its transcript, and why.
ON_PURPOSE = [
    (
        r"describe_configs-.*",
        r".*configs\[\d+\]\.read_only: ottla True, kafka False",
        "settings of the broker cannot be altered yet",
    ),
    (
        r"describe_configs-.*",
        r".*\{'name': 'node.id', 'value': '1', 'source': 4\}, \{'name': 'node.id', 'value': '1', 'source': 5\}\], .*",
        "node.id has a default here",
    ),
    (
        r"incremental_alter_configs_of_brokers-.*",
        r"hidden by one's own\..*",
        "a default that no broker could start with is refused, whether one hides it or not",
    ),
    (
        r"incremental_alter_configs-.*",
        r"no such operation\..*error_code: ottla 'invalid_request', kafka 'unknown_server_error'",
        "a number that is no operation is the client's error",
    ),
    (
        r"fetch-.*",
        r"negative bytes of the partition\..*",
        "Kafka's read fails inside with UNKNOWN_SERVER_ERROR",
    ),
    (
        r"produce_.*",
        r"(garbage that claims \w+|no such codec.*)\.responses.*error_code: ottla .*, kafka 'unknown_server_error'",
        "what cannot be unpacked is the producer's error, not the server's",
    ),
]


def known_rows(ours: Any, theirs: Any) -> tuple[Any, Any]:
    """ApiVersions is compared where Ottla serves an API at all; the features only by what Ottla finalizes."""
    if not isinstance(ours, dict) or "api_keys" not in ours:
        return ours, theirs

    def cut(answer: Any) -> Any:
        kept = {row["api_key"] for row in ours["api_keys"]}
        rest = {key: value for key, value in answer.items() if key not in ("supported_features", "finalized_features")}
        rest.pop("finalized_features_epoch", None)  # an offset of the metadata log
        return {**rest, "api_keys": [row for row in answer["api_keys"] if row["api_key"] in kept]}

    return cut(ours), cut(theirs)


def on_purpose(name: str, line: str) -> bool:
    return any(re.fullmatch(case, name) and re.fullmatch(place, line, re.DOTALL) for case, place, _ in ON_PURPOSE)


def check_equal(name: str, broker: Process, reference: Process, topics: str | None = None) -> None:
    ours, theirs = converse_with_both(name, broker, reference, topics)
    assert [label for label, _ in ours] == [label for label, _ in theirs]
    found: list[str] = []
    for (label, our), (_, their) in zip(ours, theirs, strict=True):
        pair = (our, their)
        if "api_versions" in name and isinstance(our, dict) and isinstance(their, dict):
            pair = known_rows(our, their)
        lines = [f"{label}{line}" for line in differences(*pair)]
        found += [line for line in lines if not on_purpose(name, line)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", CASES)
def test_answers_equal_kafkas(name: str, broker: Process, reference: Process) -> None:
    """The conversation of this name and version goes the same way with both."""
    check_equal(name, broker, reference)


@pytest.mark.parametrize("name", LIMITED_CASES)
def test_answers_equal_kafkas_at_the_limits(name: str, limited_broker: Process, limited_reference: Process) -> None:
    """The same with brokers whose bounds and times of groups are close."""
    check_equal(name, limited_broker, limited_reference)


def not_asked(served: Mapping[str, tuple[int, int, int]], cases: Mapping[str, tuple[Any, int]]) -> dict[str, set[int]]:
    """The versions of each API that no conversation has: one of the API's own name, or of that and more words."""
    asked: dict[str, set[int]] = {}
    for name, (_, version) in cases.items():
        words = name.rpartition("-v")[0].split("_")
        # The longest API whose words it begins with: `offset_for_leader_epoch` is not `offset_fetch`'s, nor `fetch`'s.
        own = [api for api in served if words[: len(api.split("_"))] == api.split("_")]
        if own:
            asked.setdefault(max(own, key=len), set()).add(version)
    missing = {api: set(range(low, high + 1)) - asked.get(api, set()) for api, (low, high, _) in served.items()}
    return {api: versions for api, versions in missing.items() if versions}


def test_a_version_that_no_conversation_has_is_noticed() -> None:
    """The check itself: of each API each version counts, and no API counts for another."""
    served = {"fetch": (4, 6, 0), "offset_fetch": (1, 1, 0)}
    cases = {"fetch-v4": (None, 4), "fetch_zstd-v5": (None, 5), "fetching-v6": (None, 6), "offset-v1": (None, 1)}
    assert not_asked(served, cases) == {"fetch": {6}, "offset_fetch": {1}}


@pytest.mark.ottla
def test_every_api_that_is_advertised_is_compared(broker: Process) -> None:
    """ApiVersions names nothing that this test does not ask in each of its versions, and the other way round."""
    with Connection(broker.host, broker.port) as connection:
        rows = connection.ask("api_versions", 4, client_software_name="wire", client_software_version="1")["api_keys"]
    names = {key: name for name, key in API.items()}
    advertised = {names.get(row["api_key"], row["api_key"]): row["max_version"] for row in rows}
    assert advertised == {api: high for api, (_, high, _) in SERVED.items()}
    assert not_asked(SERVED, CASES) == {}
