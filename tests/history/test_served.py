"""What is not served yet is skipped; from the first of its APIs on, a skip is a failure."""

from __future__ import annotations

import pytest

from tests.history.served import CONSUMER_PROTOCOL, TRANSACTIONS, WANTS, judge


@pytest.mark.parametrize("feature", [TRANSACTIONS, CONSUMER_PROTOCOL])
def test_a_skip_ends_by_itself(feature: str) -> None:
    """Nothing of it: skipped. Finalized: run. An API without the feature, or Apache Kafka without it: failed."""
    with pytest.raises(pytest.skip.Exception, match=f"ottla does not serve {feature} yet"):
        judge("ottla", feature, (), {0, 1, 22})
    judge("ottla", feature, {feature}, {0, 1, 22, *WANTS[feature]})
    with pytest.raises(pytest.fail.Exception, match="has not finalized"):
        judge("ottla", feature, (), {0, 1, 22, *WANTS[feature]})
    with pytest.raises(pytest.fail.Exception, match="has not finalized"):
        judge("kafka", feature, (), {0, 1, 22})
