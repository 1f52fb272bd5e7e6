"""Whether the broker under test has what a test is about: asked of the broker, so that a skip ends by itself."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from tests.processes import Process
from tests.wire.client import Connection

# The features, each with the API keys that mean nothing without it.
TRANSACTIONS, CONSUMER_PROTOCOL = "transaction.version", "group.version"
WANTS = {TRANSACTIONS: {24, 25, 26, 28}, CONSUMER_PROTOCOL: {68}}


def need(broker: Process, *features: str) -> None:
    """Skips while the broker has not finalized a feature."""
    with Connection(broker.host, broker.port) as connection:
        answer = connection.ask("api_versions", 4, client_software_name="history", client_software_version="1")
    finalized = {each["name"] for each in answer["finalized_features"] if each["max_version_level"] > 0}
    keys = {each["api_key"] for each in answer["api_keys"]}
    for feature in features:
        judge(broker.name, feature, finalized, keys)


def judge(name: str, feature: str, finalized: Collection[str], keys: Collection[int]) -> None:
    """A broker that serves a feature's APIs and has not finalized it fails: from then on nothing may be skipped."""
    if feature in finalized:
        return
    served = WANTS[feature].intersection(keys)
    if name == "kafka" or served:
        pytest.fail(f"{name} serves {sorted(served)} and has not finalized {feature}")
    pytest.skip(f"{name} does not serve {feature} yet")
