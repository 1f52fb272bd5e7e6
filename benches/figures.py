"""`python -m benches.figures RAW.json ...`: the README's figures, from the raw results of a run.

Prints the part between the two marks in README.md; `--write` puts it there. Of several files the later ones have the
say about what they measured: a row is of one run always, and the text names all of them.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benches.bars import KAFKA, NOT_MEASURED, NOT_SETTLED_WORDS, OURS, table, verdicts

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
TITLES = {OURS: "Ottla", KAFKA: "Apache Kafka"}
# What makes two results of one workload different figures.
KEYS = (
    "workload",
    "case",
    "rate",
    "sync_delay_ms",
    "durability",
    "protocol",
    "kind",
    "generator",
    "producers",
    "members",
)


def key(result: dict[str, Any]) -> tuple[object, ...]:
    return tuple(str(result.get(name)) for name in KEYS)


def merged(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One set of results; failures do not replace figures."""
    workloads: dict[tuple[object, ...], dict[str, Any]] = {}
    for run in runs:
        for result in run["workloads"]:
            if "failed" not in result:
                workloads[key(result)] = result
    return {**runs[-1], "workloads": [*workloads.values()]}


def run_words(run: dict[str, Any]) -> str:
    """When, which versions, by which command."""
    versions = ", ".join(f"{TITLES.get(name, name)} {peer['version']}" for name, peer in run["peers"].items())
    return f"- {run['begun'][:16].replace('T', ' ')} UTC, {versions}: `{shlex.join(run['command'])}`, {run['took_s']} s"


def part(runs: Sequence[dict[str, Any]]) -> str:
    """What stands between the marks."""
    if any(run["effort"]["share"] < 1 for run in runs):
        raise ValueError("a quick run has no figures for the README")
    results = merged(runs)
    machine = results["machine"]
    told = verdicts(results)
    missed = [each.title for each in told if each.met is False]
    absent = [each.title for each in told if each.met is None]
    counts = f"Of {len(told)} rows {sum(each.met is True for each in told)} reach their bar, {len(missed)} miss it"
    counts += f", {len(absent)} are {NOT_MEASURED}." if absent else "."
    return "\n".join(
        [
            (
                f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
                f"{results['clients']['java']}. Medians of three interleaved rounds; neither side synced where "
                'nothing else is said; "per GiB" is per GiB of what clients sent or read, uncompressed.'
            ),
            "",
            *map(run_words, runs),
            "",
            *table(results),
            "",
            f"{counts} {NOT_SETTLED_WORDS}",
        ]
    )


def written(readme: str, text: str) -> str:
    """The README with another part between its marks."""
    before, _, rest = readme.partition(BEGIN)
    _, found, behind = rest.partition(END)
    if not found:
        raise ValueError(f"README.md has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{behind}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="benches.figures", description=__doc__)
    parser.add_argument("raw", type=Path, nargs="+", help="raw results, the oldest first")
    parser.add_argument("--write", action="store_true", help="into README.md, between its marks")
    options = parser.parse_args()
    text = part([json.loads(path.read_text()) for path in options.raw])
    if options.write:
        README.write_text(written(README.read_text(), text))
    else:
        print(text)


if __name__ == "__main__":
    main()
