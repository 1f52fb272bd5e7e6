"""What happens to accounts, and what follows from it. No Kafka in here: a fold is a function of a list.

Kafka appends what it is sent; it cannot be told "only if nobody was faster". So the condition travels in the event: its
version, one more than that of the account it was decided on. Whoever reads applies an event only if its version is the
next one of its account. Of two events with the same version the first in the log counts, and since everybody reads the
same log in the same order (the account is the key), everybody agrees which that is, its writer included. An event that
is there twice has an old version the second time. So one rule serves both: conflict and repetition.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Event:
    """One record; its key is the account. `command` is what was asked for, and is unique."""

    command: str
    account: str
    version: int
    kind: str  # opened, deposited, withdrawn, refused
    cents: int

    def as_bytes(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def parse(cls, value: bytes) -> Event:
        return cls(**json.loads(value))


@dataclass(frozen=True)
class Account:
    cents: int = 0
    version: int = 0


EFFECT = {"opened": 1, "deposited": 1, "withdrawn": -1, "refused": 0}


def applied(account: Account, event: Event) -> Account | None:
    """The account after the event; None if the event comes too late, or again."""
    if event.version != account.version + 1:
        return None
    return Account(account.cents + EFFECT[event.kind] * event.cents, event.version)


def fold(accounts: dict[str, Account], event: Event) -> bool:
    """Applies an event where it belongs; False if it changes nothing."""
    after = applied(accounts.get(event.account, Account()), event)
    if after is not None:
        accounts[event.account] = after
    return after is not None


@dataclass(frozen=True)
class Command:
    """What a customer asks a teller for."""

    id: str
    account: str
    kind: str  # deposit, withdraw
    cents: int

    def decide(self, account: Account) -> Event:
        """What is to happen, given what the teller knows. That is true for this version of the account only."""
        kind = "deposited" if self.kind == "deposit" else "withdrawn" if self.cents <= account.cents else "refused"
        return Event(self.id, self.account, account.version + 1, kind, self.cents)


def commands(teller: str, accounts: list[str], count: int) -> list[Command]:
    """A teller's day; the same each time one asks, as it would be from a queue of customers."""
    chance = random.Random(teller)
    return [
        Command(
            f"{teller}/{number}",
            chance.choice(accounts),
            chance.choice(("deposit", "withdraw")),
            chance.randrange(1, 90_000),
        )
        for number in range(1, count + 1)
    ]
