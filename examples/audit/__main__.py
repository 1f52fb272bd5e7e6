"""The run: `python -m examples.audit [--entries 1000]`."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import ottla
from examples.audit.trail import Note, Trail, read_notes, verify
from examples.scene import Scene, play, verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOTED_EVERY = 100
WHO = ("ann", "bob", "eve")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.audit", description="An audit trail with verification.")
    parser.add_argument("--entries", type=int, default=1000)
    chosen = parser.parse_args()
    with Scene("audit") as scene:
        place, notes = scene.folder / "trail", scene.folder / "notes.jsonl"
        write(place, notes, chosen.entries)
        wrong = []
        for title, tamper, notices in (
            ("as it was written", None, "nothing"),
            ("a byte changed on the disk", change_a_byte, "checksum"),
            ("an amount changed, checksums right", change_an_entry, "the chain breaks"),
            ("the same, with a new chain behind it", make_the_chain_anew, "made anew"),
            ("the last entries cut off", cut_the_end, "its end is gone"),
        ):
            copy = scene.folder / "copy"
            shutil.copytree(place, copy)
            if tamper is not None:
                tamper(copy)
            found = look(copy, read_notes(notes))
            print(f"{title}: {found}")
            if notices not in found:
                wrong.append(f"{title}: {notices!r} was to be noticed, and it was {found!r}")
            shutil.rmtree(copy)
        return verdict(wrong)


def write(place: Path, notes: Path, count: int) -> None:
    """By several threads, with a note of the chain now and then."""
    with ottla.Log(place, topic="trail") as log, notes.open("w") as kept:
        trail = Trail(log)

        def transfer(number: int) -> None:
            trail.record(WHO[number % len(WHO)], "transfer", number=number, euro=10 * number)

        for first in range(0, count, NOTED_EVERY):
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(transfer, range(first, min(first + NOTED_EVERY, count))))
            kept.write(json.dumps(trail.note()) + "\n")


def look(place: Path, notes: list[Note]) -> str:
    try:
        with ottla.Log(place, read_only=True) as log:
            return "; ".join(verify(log, notes)) or "nothing"
    except ottla.StorageError as error:
        return f"checksum: {error}"


def change_a_byte(place: Path) -> None:
    """As a disk does, or somebody with an editor."""
    path = next((place / "trail-0").glob("*.log"))
    content = bytearray(path.read_bytes())
    content[content.index(b"transfer")] ^= 1
    path.write_bytes(content)


def written_anew(place: Path, write_entry: Callable[[ottla.Log, int, ottla.Record], None]) -> None:
    """By somebody who has the library and the directory: every checksum is right."""
    forged = place.with_name("forged")
    with ottla.Log(place) as log, ottla.Log(forged, topic="trail") as to:
        for number, record in enumerate(log.read()):
            write_entry(to, number, record)
    shutil.rmtree(place)
    forged.rename(place)


def forged_value(number: int, record: ottla.Record) -> bytes:
    entry = json.loads(record.value or b"{}")
    if number == NOTED_EVERY // 2:
        entry["euro"] += 1_000_000
    return json.dumps(entry, sort_keys=True).encode()


def change_an_entry(place: Path) -> None:
    def keep_the_chain(to: ottla.Log, number: int, record: ottla.Record) -> None:
        to.append(forged_value(number, record), key=record.key, headers=record.headers, wait=False)

    written_anew(place, keep_the_chain)


def make_the_chain_anew(place: Path) -> None:
    trails: dict[int, Trail] = {}

    def append(to: ottla.Log, number: int, record: ottla.Record) -> None:
        trail = trails.setdefault(0, Trail(to))
        entry = json.loads(forged_value(number, record))
        trail.record((record.key or b"").decode(), entry.pop("what"), **entry)

    written_anew(place, append)


def cut_the_end(place: Path) -> None:
    with ottla.Log(place) as log:
        log.truncate(log.end_offset - 3)


if __name__ == "__main__":
    sys.exit(play(main))
