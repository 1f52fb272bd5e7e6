"""Follows a log file into the topic: `python -m examples.logs.shipper BOOTSTRAP TOPIC HOST LOG_FILE MARK_FILE`.

Each line becomes one record as it stands: key the host, so that its lines stay in order; the entry's own time as the
record's timestamp, which is what searching by time goes by; level and position in the file as headers.

A line counts as shipped when it is acknowledged. Up to where that is so, is noted every MARK_EVERY lines and at the
end; a shipper that was killed goes on from its note and ships some lines again. Host and position say which line it is:
readers drop the second copy. Lines that are written while no shipper runs wait in the file.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from examples import children

if TYPE_CHECKING:
    from pathlib import Path

    from confluent_kafka import KafkaError, Message, Producer

MARK_EVERY = 20
LOOK_EVERY_S = 0.05


class Shipper:
    def __init__(self, bootstrap: str, topic: str, host: str, log_file: Path, mark_file: Path) -> None:
        from confluent_kafka import Producer

        self.topic = topic
        self.host = host
        self.log_file = log_file
        self.mark_file = mark_file
        mark = json.loads(mark_file.read_text()) if mark_file.exists() else {"lines": 0, "position": 0}
        self.lines, self.acknowledged, self.position = mark["lines"], mark["position"], mark["position"]
        self.stopping = False
        settings: dict[str, Any] = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 2}
        self.producer: Producer = Producer(settings)

    def run(self) -> None:
        """Until SIGTERM, and then what is in the file still."""
        signal.signal(signal.SIGTERM, self._on_sigterm)
        while True:
            last_turn = self.stopping
            self._ship_what_is_new()
            if last_turn:
                break
            time.sleep(LOOK_EVERY_S)
        self._note()

    def _ship_what_is_new(self) -> None:
        if not self.log_file.exists():
            return
        with self.log_file.open("rb") as file:
            file.seek(self.position)
            whole, end, _torn = file.read().rpartition(b"\n")
        for line in (whole + end).splitlines(keepends=True):
            entry = json.loads(line)
            self.producer.produce(
                self.topic,
                line.rstrip(b"\n"),
                self.host,
                timestamp=entry["time_ms"],
                headers=[("level", entry["level"].encode()), ("position", str(self.position).encode())],
                on_delivery=self._on_delivery,
            )
            self.position += len(line)
        if self.producer.flush(30):
            raise SystemExit("not acknowledged in 30 s")  # started again, it goes on from its note

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        """Called in the order of the file: one key, one partition."""
        if error is not None:
            raise SystemExit(f"not delivered: {error}")
        self.lines += 1
        self.acknowledged += len(message.value() or b"") + 1
        if self.lines % MARK_EVERY == 0:
            self._note()

    def _note(self) -> None:
        new = self.mark_file.with_suffix(".new")
        new.write_text(json.dumps({"lines": self.lines, "position": self.acknowledged}))
        new.replace(self.mark_file)

    def _on_sigterm(self, _signal: int, _frame: object) -> None:
        self.stopping = True


def ship(bootstrap: str, topic: str, host: str, log_file: Path, mark_file: Path) -> int:
    Shipper(bootstrap, topic, host, log_file, mark_file).run()
    return 0


if __name__ == "__main__":
    sys.exit(children.main(ship, str, str, str, children.path, children.path))
