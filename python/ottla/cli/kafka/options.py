"""Flags as Kafka's tools read them: joptsimple's parser, without abbreviations.

- `--name value`, `--name=value`, and with one dash too. An argument that is needed is the next word, whatever it is.
- An argument that may be left out is taken if the next word does not begin with a dash.
- Repeated options collect; `value` refuses when there is more than one, and converts only then.
- Words that belong to no option are ignored. `--` ends the options.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

INT_MAX = 2**31 - 1
LONG_MAX = 2**63 - 1
_JAVA_NUMBER = re.compile(r"[+-]?[0-9]+")
_HELP_COLUMNS = 80
_HELP_LEFT_MAX = 40


class OptionError(Exception):
    """The words on the command line do not fit the options; the text is joptsimple's. `kind` is its exception."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = f"joptsimple.{kind}"


class Option(NamedTuple):
    """One option. `argument` describes what it takes; None if it takes nothing."""

    name: str
    help: str
    argument: str | None = None
    kind: str = "String"
    optional: bool = False
    default: Any = None
    # Allowed only beside one of these.
    only_with: tuple[str, ...] = ()
    # The argument is a list, split at this.
    separator: str = ""

    def __str__(self) -> str:
        return f"[{self.name}]"

    def signature(self) -> str:
        """Give the left column of a help page."""
        if self.argument is None:
            return f"--{self.name}"
        inner = f"{self.kind}: {self.argument}" if self.argument else self.kind
        return f"--{self.name} [{inner}]" if self.optional else f"--{self.name} <{inner}>"


def _whole(least: int, most: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        # Java reads ASCII digits with a sign: no blanks, no underscores.
        if not _JAVA_NUMBER.fullmatch(text) or not least <= int(text) <= most:
            raise ValueError(text)
        return int(text)

    return convert


integer = _whole(-INT_MAX - 1, INT_MAX)
long = _whole(-LONG_MAX - 1, LONG_MAX)
_CONVERTERS: dict[str, Callable[[str], Any]] = {"String": str, "Integer": integer, "Long": long}

HELP = Option("help", "Print this page.")
VERSION = Option("version", "Print the version of Apache Kafka whose tool this is.")


class OptionParser:
    """The options a tool has."""

    def __init__(self, *options: Option) -> None:
        self.options = {option.name: option for option in (*options, HELP, VERSION)}

    def parse(self, arguments: Sequence[str]) -> Options:
        """Read the words; raises `OptionError`."""
        found: dict[str, list[str]] = {}
        words = list(arguments)
        while words:
            word = words.pop(0)
            if word == "--":
                break
            if word.startswith("--"):
                name, equals, value = word[2:].partition("=")
                if name not in self.options:
                    raise _unrecognized(name)
            elif word.startswith("-") and word != "-":
                name, equals, value = word[1:].partition("=")
                if name not in self.options:
                    # A bundle of one-letter options, of which there are none.
                    raise _unrecognized(word[1])
            else:
                continue
            self._take(self.options[name], value if equals else None, words, found)
        options = Options(self, found, words=len(arguments))
        if not (options.has("help") or options.has("version")):
            self._check_company(found)
        return options

    def _take(self, option: Option, value: str | None, words: list[str], found: dict[str, list[str]]) -> None:
        values = found.setdefault(option.name, [])
        if option.argument is None:
            return
        if value is None:
            if option.optional:
                if words and not (words[0].startswith("-") and words[0] != "-"):
                    value = words.pop(0)
            elif not words:
                raise OptionError(
                    "OptionMissingRequiredArgumentException", f"Option {option.name} requires an argument"
                )
            else:
                value = words.pop(0)
        if value is not None:
            values += value.split(option.separator) if option.separator else [value]

    def _check_company(self, found: dict[str, list[str]]) -> None:
        alone = [
            name
            for name in self.options
            if name in found and (company := self.options[name].only_with) and not found.keys() & set(company)
        ]
        if alone:
            raise OptionError(
                "UnavailableOptionException",
                f"Option(s) [{', '.join(alone)}] are unavailable given other options on the command line",
            )

    def help(self) -> str:
        """Give the table of options, in joptsimple's two columns."""
        rows = [(option.signature(), _described(option)) for _, option in sorted(self.options.items())]
        left = min(_HELP_LEFT_MAX, max(len(signature) for signature, _ in rows))
        right = _HELP_COLUMNS - left - 1
        lines = [f"{'Option':<{left}} Description", f"{'------':<{left}} -----------"]
        for signature, text in rows:
            first = _wrapped(signature, left)
            second = [line for part in text.split("\n") for line in _wrapped(part, right)]
            for index in range(max(len(first), len(second))):
                pair = (first[index : index + 1] or [""])[0], (second[index : index + 1] or [""])[0]
                lines.append(f"{pair[0]:<{left}} {pair[1]}".rstrip())
        return "\n".join(lines) + "\n"


class Options:
    """What stood on the command line."""

    def __init__(self, parser: OptionParser, found: dict[str, list[str]], *, words: int) -> None:
        self.parser = parser
        self._found = found
        self.empty = words == 0

    def has(self, name: str) -> bool:
        """Tell whether the option was given."""
        return name in self._found

    def value(self, name: str) -> Any:
        """Give the argument, or the default; raises `OptionError` if it does not convert or there are several."""
        given = self._found.get(name, [])
        if len(given) > 1:
            raise OptionError(
                "MultipleArgumentsForOptionException",
                f"Found multiple arguments for option {name}, but you asked for only one",
            )
        return self._converted(name, given[0]) if given else self.parser.options[name].default

    def values(self, name: str) -> list[Any]:
        """Give every argument of a repeated option."""
        return [self._converted(name, text) for text in self._found.get(name, [])]

    def _converted(self, name: str, text: str) -> Any:
        try:
            return _CONVERTERS[self.parser.options[name].kind](text)
        except ValueError as error:
            raise OptionError(
                "OptionArgumentConversionException", f"Cannot parse argument '{text}' of option {name}"
            ) from error


def _unrecognized(name: str) -> OptionError:
    return OptionError("UnrecognizedOptionException", f"{name} is not a recognized option")


def _described(option: Option) -> str:
    return option.help if option.default is None else f"{option.help} (default: {option.default})"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False) or [""]
