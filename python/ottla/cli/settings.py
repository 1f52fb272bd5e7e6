"""`ottla settings`: the table of settings, as the broker itself reads it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click
import msgspec

from ottla.config import BROKER_SETTINGS, GROUP_CONFIGS, TOPIC_SETTINGS
from ottla.config.inert import reason_without_effect
from ottla.config.setting import render

if TYPE_CHECKING:
    from ottla.config import Setting

_WIDTH = 100


def show(words: tuple[str, ...], scope: str | None, *, as_json: bool) -> None:
    """Print the settings whose names contain all words."""
    every = [*BROKER_SETTINGS.values(), *TOPIC_SETTINGS.values(), *GROUP_CONFIGS.values()]
    chosen = [
        setting
        for setting in sorted(every, key=lambda setting: (setting.scope, setting.name))
        if (scope is None or setting.scope == scope)
        and not setting.hidden
        and all(word in setting.name for word in words)
    ]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([render(setting) for setting in chosen]), indent=2).decode())
        return
    if not chosen:
        reason = reason_without_effect(words[0]) if len(words) == 1 else None
        said = f"{words[0]} is accepted without effect: {reason}" if reason else "no setting has such a name"
        raise click.ClickException(said)
    click.echo("\n\n".join(_paragraph(setting) for setting in chosen))


def _paragraph(setting: Setting) -> str:
    default = setting.text(setting.default)
    facts = f"{setting.scope} · {setting.kind.name.lower()} · {setting.allowed}"
    facts += "" if default is None else f" · default {default or 'empty'}"
    if setting.synonyms:
        facts += " · default from " + ", ".join(synonym.name for synonym in setting.synonyms)
    lines = [click.style(setting.name, bold=True)]
    lines += textwrap.wrap(facts, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    lines += textwrap.wrap(setting.prose, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines)
