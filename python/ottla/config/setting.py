"""One entry of the table of settings, and how text becomes a value.

A `Setting` describes itself: name, kind, default, bounds, prose, scope. Parsing a file, the command line's help,
answers to DescribeConfigs and the docs are all made from it, so they cannot disagree.

Text is read as Kafka's ConfigDef reads it: blanks around it are dropped, booleans ignore case, numbers are Java's
(sign and digits; no underscores, no hex), lists are separated by commas. The reasons in `InvalidValue` are those a
Kafka client is shown.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Mapping

SettingValue = bool | int | float | str | list[str] | None


class Kind(IntEnum):
    """What a value is; the numbers are those of DescribeConfigs."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


INT_MAX = 2**31 - 1
LONG_MAX = 2**63 - 1

_WIDTH_BITS = {Kind.SHORT: 16, Kind.INT: 32, Kind.LONG: 64}
_INTEGER = re.compile(r"[+-]?\d+")
_DOUBLE = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)[fFdD]?", re.ASCII)
# What Java's \s stands for.
_BLANKS = " \t\n\x0b\f\r"
# Kafka lets an entry be empty.
_THROTTLED = re.compile(r"(?:\d+:\d+)?", re.ASCII)

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE
SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


class InvalidValue(ValueError):
    """Text that is no value of a setting; `shown` is how Kafka prints the value, `reason` why it is refused."""

    def __init__(self, shown: str, reason: str) -> None:
        self.shown = shown
        self.reason = reason
        super().__init__(reason)


class Synonym(Struct, frozen=True):
    """A broker setting that gives the default of a topic setting, in a unit `factor` times as large."""

    name: str
    factor: int = 1


class Setting(Struct, frozen=True, kw_only=True):
    """One setting. Bounds include their ends."""

    name: str
    kind: Kind
    default: SettingValue
    doc: str
    scope: Literal["broker", "topic", "group"] = "broker"
    low: int | float | None = None
    high: int | float | None = None
    # A value allowed although it lies outside the bounds (-1 as "the codec's own default").
    beside: int | None = None
    choices: tuple[str, ...] = ()
    # A text may be any case of its choice.
    ignores_case: bool = False
    # Whether a list may be empty (and, as Kafka does for most, `a,,b` be refused).
    empty_ok: bool = True
    # For a topic setting: the broker settings that give its default, strongest first.
    synonyms: tuple[Synonym, ...] = ()
    # A broker setting that only takes effect at a start: most, so far. The others are in `config/dynamic.py`.
    restart: bool = True
    # Replica lists of throttled replication have a syntax of their own.
    throttled: bool = False
    # Zero is refused though it lies inside the bounds.
    not_zero: bool = False
    # The default is ours: Kafka has none, or one that suits Kafka alone.
    own_default: bool = False
    # Not listed unless set, as Kafka treats settings meant for tests.
    hidden: bool = False
    # Why the setting is read and checked, and changes nothing in this version; empty if it does.
    without_effect: str = ""
    # The same of single entries of `choices`.
    choices_without_effect: Mapping[str, str] = field(default_factory=dict)

    def parse(self, text: str) -> SettingValue:
        """Turn text into a checked value, or raise `InvalidValue`."""
        value = self._read(text)
        self._check(value)
        return value

    def text(self, value: SettingValue) -> str | None:
        """Write a value as DescribeConfigs shows it."""
        if value is None:
            return None
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, list):
            return ",".join(value)
        return _double(value) if isinstance(value, float) else str(value)

    def ignored(self, value: SettingValue) -> str | None:
        """Say why setting this value changes nothing, or not what one expects of it; None if it does."""
        if self.without_effect:
            return self.without_effect
        entries = value if isinstance(value, list) else [value]
        return next((why for choice, why in self.choices_without_effect.items() if choice in entries), None)

    @property
    def prose(self) -> str:
        """What it does, and what of that it does not do in this version."""
        return " ".join(
            [
                self.doc,
                *([f"No effect: {self.without_effect}."] if self.without_effect else ()),
                *(f"{choice} has no effect: {why}." for choice, why in self.choices_without_effect.items()),
            ]
        )

    @property
    def allowed(self) -> str:
        """Say what values there are, for people."""
        if self.kind is Kind.BOOLEAN:
            return "true or false"
        if self.choices:
            several = "a list of " if self.kind is Kind.LIST else "one of "
            return several + ", ".join(self.choices)
        if self.kind in _WIDTH_BITS or self.kind is Kind.DOUBLE:
            low, high = self._bounds()
            words = f"{low} to {high}"
            words = words if self.beside is None else f"{words}, or {self.beside}"
            return f"{words}, but not 0" if self.not_zero else words
        if self.kind is Kind.LIST:
            return "a list, separated by commas"
        return "text"

    def _bounds(self) -> tuple[int | float, int | float]:
        limit: int | float = 2 ** (_WIDTH_BITS[self.kind] - 1) if self.kind in _WIDTH_BITS else float("inf")
        low = -limit if self.low is None else self.low
        high = (limit - 1) if self.high is None else self.high
        return low, high

    def _read(self, text: str) -> SettingValue:
        trimmed = text.strip()
        match self.kind:
            case Kind.BOOLEAN:
                lowered = trimmed.lower()
                if lowered not in ("true", "false"):
                    raise InvalidValue(text, "Expected value to be either true or false")
                return lowered == "true"
            case Kind.INT | Kind.SHORT | Kind.LONG:
                limit = 2 ** (_WIDTH_BITS[self.kind] - 1)
                # The length is bounded first: turning a megabyte of digits into a number takes Python minutes.
                if len(trimmed) > 100 or not _INTEGER.fullmatch(trimmed) or not -limit <= int(trimmed) < limit:
                    raise InvalidValue(text, f"Not a number of type {self.kind.name}")
                return int(trimmed)
            case Kind.DOUBLE:
                found = _DOUBLE.fullmatch(trimmed) if len(trimmed) <= 100 else None
                # Java would also take NaN, which then passes every comparison with the bounds.
                if found is None:
                    raise InvalidValue(text, "Not a number of type DOUBLE")
                return float(found[1])
            case Kind.LIST:
                # Not by a regular expression: `\s*,` looks at a run of blanks once for each of them.
                entries = [entry.strip(_BLANKS) for entry in trimmed.split(",")] if trimmed else []
                # An entry given twice counts once (KIP-1161), but for the replica lists.
                return entries if self.throttled else list(dict.fromkeys(entries))
            case _:
                return trimmed

    def _check(self, value: SettingValue) -> None:
        if isinstance(value, list):
            self._check_list(value)
        elif isinstance(value, str):
            if self.choices and (value.lower() if self.ignores_case else value) not in self.choices:
                how = " (case insensitive)" if self.ignores_case else ""
                raise InvalidValue(value, f"String must be one of{how}: {', '.join(self.choices)}")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and value != self.beside:
            inside = (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
            if self.beside is not None and not inside:
                raise InvalidValue(
                    str(value), f"Value must be between {self.low} and {self.high} or equal to {self.beside}"
                )
            if self.low is not None and value < self.low:
                raise InvalidValue(str(value), f"Value must be at least {self.low}")
            if self.high is not None and value > self.high:
                raise InvalidValue(str(value), f"Value must be no more than {self.high}")
            if self.not_zero and value == 0:
                raise InvalidValue(str(value), "Value must not be 0")

    def _check_list(self, values: list[str]) -> None:
        if self.throttled:
            if values != ["*"] and not all(_THROTTLED.fullmatch(value) for value in values):
                shape = "[partitionId]:[brokerId],[partitionId]:[brokerId],..."
                raise InvalidValue(
                    f"[{', '.join(values)}]",
                    f"{self.name} must be the literal '*' or a list of replicas in the following format: {shape}",
                )
            return
        if not values and not self.empty_ok:
            raise InvalidValue("[]", f"Configuration '{self.name}' must not be empty.")
        if "" in values:
            raise InvalidValue("", f"Configuration '{self.name}' values must not be empty.")
        for value in values:
            if self.choices and value not in self.choices:
                raise InvalidValue(value, f"String must be one of: {', '.join(self.choices)}")


def _double(value: float) -> str:
    """Write a number as Java does, which says 1.0E7 where Python says 10000000.0."""
    if math.isinf(value) or value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    return f"{'-' if sign else ''}{text[0]}.{text[1:] or '0'}E{exponent + len(text) - 1}"


def table(*settings: Setting) -> dict[str, Setting]:
    """Key settings by name; two of one name are a mistake."""
    found: dict[str, Setting] = {}
    for setting in settings:
        assert setting.name not in found, f"{setting.name} is listed twice"
        found[setting.name] = setting
    return found


def render(setting: Setting) -> dict[str, Any]:
    """Everything the docs page and `ottla settings` print of a setting."""
    return {
        "name": setting.name,
        "type": setting.kind.name.lower(),
        "default": setting.text(setting.default),
        "allowed": setting.allowed,
        "scope": setting.scope,
        "synonyms": [synonym.name for synonym in setting.synonyms],
        "doc": setting.prose,
    }
