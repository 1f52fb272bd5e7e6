"""Scripts that play a transaction coordinator (`golden_script` has their form).

What came of it: answers in the order they were sent, with whom they went to; `log:` lines for records, where `|`
divides records of one append; `markers` lines for what was sent to the partitions of a transaction.

    set NAME=VALUE ...             settings of the coordinator, and the finalized level of transaction.version (server);
                                   before anything else
    init WHO                       InitProducerId. WHO is a client of the transactional id `x`; what it is given is sent
                                   from then on. -goes-on: with the producer id and epoch it has (KIP-360)
    add WHO T-P...                 AddPartitionsToTxn or AddOffsetsToTxn (v1); -broker: as brokers ask, who do not wait
    write WHO T-P...               the first write to each partition: it is added (v2), or with -v1 verified
    verify WHO T-P...              AddPartitionsToTxn that only asks, as brokers do
    end WHO commit|abort           EndTxn of v2, or with -v1
                                   of all these: -id=x -epoch=DISTANCE (from the epoch WHO has) -producer=ID/EPOCH
    list [STATE...] [-longer=MS]   describe ID...
    lately ID/EPOCH STATE [T-P...] the log begins with such a record of `x`; after it comes a restart. -next=ID -v1
    markers later / now            they are answered when delivered, or at once
    deliver [COUNT]                the oldest calls are answered
    refuse T-P=CODE ...            what the next answers say of a partition; without any: NONE of all
    ids none / later / now         whether there are producer ids to be had; `ids` hands them to those who wait
    delete-topics NAME...   wait MS   hold / release   fail   unload / load      as in `golden`
    restart [NAME=VALUE ...]       the coordinator starts again from the log, with other settings if given
    crash                          the same, and what was not committed is gone
    load-slowly / loaded           its journal takes its time, from the next load or restart on

Producers are shown as id/epoch. `python -m tests.coordinator.golden_transactions` writes the expected output anew; read
the difference before you commit it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ottla.coordinator.transaction.records import read, transaction_record
from ottla.coordinator.transaction.settings import TransactionSettings
from ottla.coordinator.transaction.state import BY_LABEL
from ottla.coordinator.transaction.transaction import NO_EPOCH, NO_ID, NO_TIME, Partition, Transaction
from ottla.errors import ErrorCode, StorageError
from ottla.testing import MemoryMarkers
from ottla.types import Codec, TransactionMarker
from tests.coordinator.golden_script import SCRIPTS, ScriptPlayer, rewrite
from tests.coordinator.transaction_world import TIMEOUT_MS, Codes, TransactionWorld
from tests.coordinator.world import Box

FLAGS = {"-v1", "-goes-on", "-broker"}


class LoggingBox(Codes):
    """Tells the player when an answer comes."""

    def __init__(self, what: str, player: TransactionPlayer) -> None:
        super().__init__(what)
        self.player = player
        self.who = player.who
        self.asked = player.asked

    def __call__(self, response: Any) -> None:
        self.tell(response)

    def tell(self, code: Any) -> None:
        assert not self.answers, f"{self.what} is answered twice"
        super().tell(code)
        self.player.show_answer(self, code)


class PlayedMarkers(MemoryMarkers):
    """Tells the player what is sent."""

    def __init__(self, player: TransactionPlayer) -> None:
        super().__init__()
        self.player = player

    def write(self, marker: TransactionMarker, answer: Any) -> None:
        self.player.show_log()
        by = f", coordinator {marker.coordinator_epoch}" if marker.coordinator_epoch else ""
        self.player.show(
            f"markers of v{2 if marker.transaction_version >= 2 else 1}: {'commit' if marker.committed else 'abort'} "
            f"{marker.producer_id}/{marker.producer_epoch} to {_places(marker.partitions)}{by}"
        )
        super().write(marker, answer)


class PlayedWorld(TransactionWorld):
    """A world whose boxes and markers report to a player."""

    def __init__(self, player: TransactionPlayer, codec: Codec | None) -> None:
        self.player = player
        super().__init__(
            player.made_settings(), server_version=player.server_version, codec=codec, markers=PlayedMarkers(player)
        )

    def _box(self, what: str) -> Box:
        return LoggingBox(what.split(maxsplit=1)[0], self.player)

    def _codes(self, what: str) -> Codes:
        return LoggingBox(what.split(maxsplit=1)[0], self.player)


class TransactionPlayer(ScriptPlayer):
    """Plays one script."""

    def __init__(self, codec: Codec | None = None) -> None:
        super().__init__()
        self.codec = codec
        self.settings: dict[str, Any] = {}
        self.server_version = 2
        # What each client has: producer id and epoch.
        self.producers: dict[str, tuple[int, int]] = {}
        self.asked = ""
        self.shown_appends = 0
        self._world: PlayedWorld | None = None

    @property
    def world(self) -> PlayedWorld:
        if self._world is None:
            self._world = PlayedWorld(self, self.codec)
        return self._world

    def made_settings(self) -> TransactionSettings:
        return TransactionSettings(**self.settings)

    def _producer(self, options: dict[str, str]) -> tuple[int, int]:
        if "producer" in options:
            return _producer(options["producer"])
        producer_id, epoch = self.producers.get(self.who, (NO_ID, NO_EPOCH))
        return producer_id, epoch + int(options.get("epoch", 0))

    # Commands: clients.

    def do_init(self, plain: list[str], options: dict[str, str], end_turn: bool) -> None:
        goes_on = "-goes-on" in plain or "producer" in options
        self.asked = "init"
        self.world.init(
            options.get("id", "x"),
            timeout_ms=int(options.get("timeout", TIMEOUT_MS)),
            producer=self._producer(options) if goes_on else (NO_ID, NO_EPOCH),
            end_turn=end_turn,
        )

    def do_add(self, plain: list[str], options: dict[str, str], end_turn: bool) -> None:
        places = [word for word in plain[1:] if word not in FLAGS]
        self.asked = f"add {' '.join(places)}"
        self.world.add(
            self._producer(options),
            *map(_partition, places),
            transactional_id=options.get("id", "x"),
            waits="-broker" not in plain,
            end_turn=end_turn,
        )

    def do_write(self, plain: list[str], options: dict[str, str], end_turn: bool) -> None:
        places = [word for word in plain[1:] if word not in FLAGS]
        self.asked = f"write {' '.join(places)}"
        self.world.ask(
            self._producer(options),
            *map(_partition, places),
            adds="-v1" not in plain,
            transactional_id=options.get("id", "x"),
            end_turn=end_turn,
        )

    def do_verify(self, plain: list[str], options: dict[str, str], _end_turn: bool) -> None:
        _, *places = plain
        self.asked = "verify"
        self.world.verify(self._producer(options), *map(_partition, places), transactional_id=options.get("id", "x"))

    def do_end(self, plain: list[str], options: dict[str, str], end_turn: bool) -> None:
        self.asked = f"end {plain[1]}"
        self.world.end(
            self._producer(options),
            commits=plain[1] == "commit",
            client_version=0 if "-v1" in plain else 2,
            transactional_id=options.get("id", "x"),
            end_turn=end_turn,
        )

    # Commands: people.

    def do_list(self, plain: list[str], options: dict[str, str], _end_turn: bool) -> None:
        self.who, self.asked = "", "list"
        self.world.listed(state_filters=plain, duration_filter=int(options.get("longer", -1)))

    def do_describe(self, plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.who, self.asked = "", "describe"
        self.world.described(*plain)

    # Commands: the world.

    def do_set(self, _plain: list[str], options: dict[str, str], _end_turn: bool) -> None:
        self.server_version = int(options.pop("server", self.server_version))
        self.settings.update({name: int(value) for name, value in options.items()})

    def do_restart(self, plain: list[str], options: dict[str, str], end_turn: bool) -> None:
        self.do_set(plain, options, end_turn)
        self.world.settings, self.world.server_version = self.made_settings(), self.server_version
        self.world.coordinator_epoch += 1
        self.world.start()

    def do_crash(self, plain: list[str], options: dict[str, str], end_turn: bool) -> None:
        self.world.journal.crash()
        self.shown_appends = len(self.world.journal.appends)
        self.do_restart(plain, options, end_turn)

    def do_lately(self, plain: list[str], options: dict[str, str], _end_turn: bool) -> None:
        producer, label, *places = plain
        producer_id, epoch = _producer(producer)
        state = BY_LABEL[label]
        now_ms = self.world.clock.now_ms()
        transaction = Transaction(
            producer_id=producer_id,
            previous_producer_id=producer_id,
            next_producer_id=int(options.get("next", NO_ID)),
            producer_epoch=epoch,
            last_producer_epoch=NO_EPOCH,
            timeout_ms=TIMEOUT_MS,
            state=state,
            partitions=frozenset(_partition(place) for place in places if place not in FLAGS),
            started_ms=NO_TIME if state.is_idle else now_ms,
            updated_ms=now_ms,
            client_version=0 if "-v1" in plain else 2,
        )
        record = transaction_record("x", transaction, self.server_version)
        encoded = self.world.codec.encode_coordinator_record(record.key, record.value, record.version)
        self.world.journal.append([encoded], now_ms)
        self.show_log()

    def do_markers(self, plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.markers.answer_at_once = plain[0] == "now"

    def do_deliver(self, plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.settle(int(plain[0]) if plain else None)

    def do_refuse(self, _plain: list[str], options: dict[str, str], _end_turn: bool) -> None:
        self.world.markers.codes = {_partition(place): ErrorCode[code] for place, code in options.items()}

    def do_ids(self, plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        if plain:
            self.world.without_ids, self.world.ids_at_once = plain[0] == "none", plain[0] != "later"
        else:
            self.world.give_ids()

    def do_delete_topics(self, plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.deleted |= {*plain}

    def do_wait(self, plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.wait(int(plain[0]))

    def do_hold(self, _plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.journal.commit_at_once = False

    def do_release(self, _plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.journal.commit_at_once = True
        self.world.commit()

    def do_fail(self, _plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.journal.fail_with = StorageError("the disk is full")

    def do_unload(self, _plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.coordinator.unload(0)
        self.world.turn()

    def do_load(self, _plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.coordinator_epoch += 1
        self.world.coordinator.load(0)
        self.world.turn()

    def do_load_slowly(self, _plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.journal.load_at_once = False

    def do_loaded(self, _plain: list[str], _options: dict[str, str], _end_turn: bool) -> None:
        self.world.journal.load_at_once = True
        self.world.journal.finish_loading()
        self.world.turn()

    # What came of it.

    def show_answer(self, box: LoggingBox, answer: Any) -> None:
        self.show_log()
        prefix = f"{box.who}: " if box.who else ""
        self.show(f"{prefix}{box.asked}{self._told(box, answer)}")

    def _told(self, box: LoggingBox, answer: Any) -> str:
        if isinstance(answer, dict):
            return "".join(f" {topic}-{index}={code.name}" for (topic, index), code in sorted(answer.items()))
        if isinstance(answer, ErrorCode):
            return f" {answer.name}"
        if box.asked == "describe":
            return "".join(f"\n  {_described(each)}" for each in answer.transaction_states)
        code = ErrorCode(answer.error_code)
        if box.asked == "list":
            found = "".join(
                f"\n  {each.transactional_id} {each.producer_id} {each.transaction_state}"
                for each in answer.transaction_states
            )
            unknown = "".join(f", unknown {label}" for label in answer.unknown_state_filters)
            return f" {code.name}{unknown}{found}"
        if code is not ErrorCode.NONE or answer.producer_id == NO_ID:
            return f" {code.name}"
        self.producers[box.who] = (answer.producer_id, answer.producer_epoch)
        return f" {code.name} {answer.producer_id}/{answer.producer_epoch}"

    def show_log(self) -> None:
        if self._world is None:
            return
        for _, appended in self.world.journal.appends[self.shown_appends :]:
            assert isinstance(appended, list)
            shown = [
                self.record(*self.world.codec.decode_coordinator_record("transaction", *each)) for each in appended
            ]
            self.show("log: " + " | ".join(shown))
        self.shown_appends = len(self.world.journal.appends)

    def record(self, key: Any, value: Any) -> str:
        if value is None:
            return f"{key.transactional_id} gone"
        transaction = read(value)
        then = "" if transaction.next_producer_id == NO_ID else f", then {transaction.next_producer_id}"
        moved = transaction.previous_producer_id not in (NO_ID, transaction.producer_id)
        before = f", before {transaction.previous_producer_id}" if moved else ""
        places = f" {_places(transaction.partitions)}" if transaction.partitions else ""
        return (
            f"{key.transactional_id} {transaction.state.label} {transaction.producer_id}/{transaction.producer_epoch}"
            f"{places}{then}{before}"
        )


def _described(each: Any) -> str:
    code = ErrorCode(each.error_code)
    if code is not ErrorCode.NONE:
        return f"{each.transactional_id or '-'} {code.name}"
    places = " ".join(f"{topic.topic}-{index}" for topic in each.topics for index in topic.partitions)
    return (
        f"{each.transactional_id} {each.transaction_state} {each.producer_id}/{each.producer_epoch} "
        f"timeout {each.transaction_timeout_ms} {places}"
    ).rstrip()


def _partition(name: str) -> Partition:
    topic, _, index = name.rpartition("-")
    return topic, int(index)


def _producer(text: str) -> tuple[int, int]:
    producer_id, _, epoch = text.partition("/")
    return int(producer_id), int(epoch)


def _places(partitions: Any) -> str:
    return " ".join(f"{topic}-{index}" for topic, index in sorted(partitions))


def scripts() -> list[Path]:
    """All of them."""
    return sorted((SCRIPTS / "transactions").glob("*.txt"))


if __name__ == "__main__":
    rewrite(scripts(), TransactionPlayer)
