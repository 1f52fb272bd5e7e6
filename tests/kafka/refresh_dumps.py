"""What Kafka's DumpLogSegments says of every log in rust/log/tests/fixtures, kept beside it as `<partition>.dump`: the
reader in rust/log must say the same, batch by batch and record by record.

    python -m tests.kafka.refresh_dumps
"""

from __future__ import annotations

from pathlib import Path

from tests.kafka import jars
from tests.kafka.dump import by_file, dump

FIXTURES = jars.ROOT / "rust" / "log" / "tests" / "fixtures"
LINES = ("baseOffset: ", "| offset: ")


def partitions() -> list[Path]:
    """Those with records of users: Kafka reads the metadata log by another decoder."""
    found = {path.parent for path in FIXTURES.rglob("*.log")}
    return sorted(path for path in found if not path.name.startswith("__"))


def kept_in(partition: Path) -> Path:
    return partition.with_name(f"{partition.name}.dump")


def text_of(partition: Path) -> str:
    """One line for each batch and each of its records, under the name of their file."""
    lines: list[str] = []
    for name, text in sorted(by_file(dump([partition], data=False)[None]).items()):
        if name.endswith(".log"):
            lines += [Path(name).name, *(line.strip() for line in text.splitlines() if line.startswith(LINES))]
    return "\n".join([*lines, ""])


def main() -> None:
    for partition in partitions():
        kept_in(partition).write_text(text_of(partition))


if __name__ == "__main__":
    main()
