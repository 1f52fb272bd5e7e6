"""What a tool said, without what differs between any two runs: ids, times, ports, and the order Java's hash sets have.

Stack traces and the client library's own log are left out: no tool of ours has them, and no script reads them. A page
of help is the word HELP, or its options by name and kind where a step asks for it: its texts are Kafka's own.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Ran(NamedTuple):
    """What running a tool gave."""

    code: int
    out: str
    err: str


_LOG_OF_CLIENTS = re.compile(
    r"^\[[^\]]*\] (WARN|ERROR) (\[|.*\(org\.apache\.kafka\.(clients|common)\.(?!producer\.internals\.Err))"
)
_LEFT_OUT = (
    "\tat ",
    "\t... ",
    "Caused by: ",
    "com.fasterxml.jackson.",
    " at [Source: ",
    "The consumer rebalance protocol (KIP-848)",
    "Bootstrap metadata: ",
)
_REPLACED = (
    (re.compile(r"(?<=TopicId: )[\w-]{22}"), "ID"),
    (re.compile(r"(?<=directory\.id=)[\w-]{22}"), "ID"),
    (re.compile(r"^[\w-]{22}$", re.MULTILINE), "ID"),
    (re.compile(r"(?<=CreateTime:)\d+"), "TIME"),
    (re.compile(r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\]", re.MULTILINE), "[TIME]"),
    # The same width, since columns depend on it.
    (
        re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
        f"{'0' * 8}-{'0' * 4}-{'0' * 4}-{'0' * 4}-{'0' * 12}",
    ),
)
_SET_OF_OPTIONS = re.compile(r"\[[\w-]+\](?:, \[[\w-]+\])+")
_SET_OF_WORDS = re.compile(r"(?<=Valid states are: )\w+(?:, \w+)+|(?<=Valid types are: )\w+(?:, \w+)+")


def plain(ran: Ran, server: str, folder: str, *, help_page: bool, unordered: bool) -> list[str]:
    """Give the lines of a step: stdout with `|`, stderr with `!`, the exit code."""
    out = _lines(ran.out, server, folder, help_page=help_page)
    err = _lines(ran.err, server, folder, help_page=help_page)
    if unordered:
        out.sort()
    return [*(f"| {line}".rstrip("\n") for line in out), *(f"! {line}" for line in err), f"[{ran.code}]"]


def _lines(text: str, server: str, folder: str, *, help_page: bool) -> list[str]:
    # A column of the coordinator's address is as wide as its port is long.
    host, _, port = server.rpartition(":")
    for address in (server, f"{host:<9} {port}"):
        text = text.replace(address, address.replace(port, "9" * len(port)))
    text = text.replace(folder, "FOLDER")
    text, found = _without_help(text)
    for pattern, instead in _REPLACED:
        text = pattern.sub(instead, text)
    for pattern in (_SET_OF_OPTIONS, _SET_OF_WORDS):
        text = pattern.sub(lambda match: ", ".join(sorted(match[0].split(", "))), text)
    kept = []
    for line in _argparse(text.splitlines()):
        if line.startswith(_LEFT_OUT) or _LOG_OF_CLIENTS.match(line) or re.fullmatch(r"java\S*StackTrace.*", line):
            continue
        kept.append(line)
    # Where a stack trace or a page of help was left out.
    while kept and not kept[-1].strip():
        kept.pop()
    if found is not None:
        kept += ["HELP", *(found if help_page else ())]
    return kept


def _without_help(text: str) -> tuple[str, list[str] | None]:
    """Cut the table of options out; give it as `--name <kind>`."""
    match = re.search(r"^(Option +)Description *\n-+ +-+ *\n", text, re.MULTILINE)
    if match is None:
        return text, None
    width = len(match[1])
    signatures: list[str] = []
    for line in text[match.end() :].splitlines():
        left = line[:width].rstrip()
        if left.startswith("--"):
            signatures.append(left)
        elif left.strip():
            signatures[-1] += f" {left.strip()}"
    short = [re.sub(r"([<\[][A-Z]\w+).*([>\]])$", r"\1\2", signature) for signature in signatures]
    return text[: match.start()], short


def _argparse(lines: list[str]) -> list[str]:
    """Leave the lines of usage out, which are wrapped in each library's own way, and join the error below them."""
    if not lines or not lines[0].startswith("usage: "):
        return lines
    text = " ".join(" ".join(lines).split()).replace(" -- ", " --")
    match = re.search(r"[\w-]+: error: .*", text)
    return ["USAGE" if match is None else match[0]]
