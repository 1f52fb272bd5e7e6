"""The form of golden scripts: what `golden` (groups) and `golden_transactions` have in common.

    # Two members form a group.
    join a
    ---
    a: join MEMBER_ID_REQUIRED

A script is blocks divided by empty lines. Commands of a block run one after the other, each in its own turn of the
loop (a leading `+` joins it with the next one's turn); everything that happened is listed below the line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"
DIVIDER = "---"


class ScriptPlayer:
    """Plays one script: a command is a method `do_NAME`, and `show` says what came of it."""

    def __init__(self) -> None:
        self.output: list[str] = []
        self.who = ""

    def play(self, script: str) -> str:
        """The script with what came of it."""
        return "\n\n".join(self.play_block(block) for block in script.strip().split("\n\n")) + "\n"

    def play_block(self, block: str) -> str:
        head = block.split("\n" + DIVIDER, 1)[0]
        self.output = []
        commands = [line for line in head.splitlines() if line and not line.startswith("#")]
        for line in commands:
            joined = line.startswith("+")
            self.run(line.removeprefix("+").split(), end_turn=not joined)
            self.show_log()
        return head if not commands else "\n".join([head, DIVIDER, *self.output])

    def run(self, words: list[str], *, end_turn: bool) -> None:
        verb, *rest = words
        self.who = rest[0] if rest else ""
        options = {
            key: value for key, _, value in (word.removeprefix("-").partition("=") for word in rest if "=" in word)
        }
        plain = [word for word in rest if "=" not in word]
        getattr(self, "do_" + verb.replace("-", "_"))(plain, options, end_turn)

    def show(self, line: str) -> None:
        self.output.append(line)

    def show_log(self) -> None:
        """Show what was appended since the last time."""
        raise NotImplementedError


def rewrite(paths: list[Path], player: Callable[[], ScriptPlayer]) -> None:
    """Write the expected output of all scripts, or those named on the command line, anew."""
    names = sys.argv[1:]
    for path in paths:
        if not names or path.stem in names:
            path.write_text(player().play(path.read_text()))
            print(path.name)
