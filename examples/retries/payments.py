"""What is to be charged, and a gateway that does not always do it."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

# What the gateway will make of a payment: nothing wrong; busy for so many attempts; never.
MOODS = {"fine": 78, "busy-1": 8, "busy-2": 5, "busy-3": 3, "busy-9": 3, "declined": 2, "garbled": 1}


class Busy(Exception):
    """No answer, or one that says: later. Worth another attempt."""


class Declined(Exception):
    """An answer, and it is no. Trying again would not change it."""


class Garbled(Exception):
    """Nothing that could be sent to the gateway at all."""


@dataclass(frozen=True)
class Payment:
    id: str
    account: str
    cents: int
    mood: str

    @classmethod
    def parse(cls, value: bytes) -> Payment:
        """Every way in which bytes can be no payment is `Garbled`: any other would end each worker that reads it."""
        try:
            found = cls(**json.loads(value))
        except (ValueError, TypeError, RecursionError) as error:
            raise Garbled(f"not a payment: {error}") from error
        texts = found.id, found.account, found.mood
        if not all(isinstance(text, str) for text in texts) or type(found.cents) is not int or found.mood not in MOODS:
            raise Garbled("not a payment: a field is not what it should be")
        return found

    def as_bytes(self) -> bytes:
        text = json.dumps(self.__dict__, separators=(",", ":"))
        return text[:-9].encode() if self.mood == "garbled" else text.encode()


def payments(count: int, seed: int) -> list[Payment]:
    chance = random.Random(seed)
    moods = chance.choices(tuple(MOODS), tuple(MOODS.values()), k=count)
    # Every mood is there, whatever the dice say.
    moods[: len(MOODS)] = list(MOODS)[:count]
    return [
        Payment(f"payment-{number:04}", f"account-{chance.randrange(40):02}", chance.randrange(100, 90_000), mood)
        for number, mood in enumerate(moods)
    ]


def charge(payment: Payment, attempt: int) -> None:
    """The gateway. A real one is given `payment.id` as idempotency key, so that charging twice charges once."""
    if payment.mood == "declined":
        raise Declined("insufficient funds")
    if payment.mood.startswith("busy-") and attempt <= int(payment.mood.removeprefix("busy-")):
        raise Busy("gateway busy (503)")
