"""`ottla`: the commands, and how each way to fail ends.

Exit codes: 0 done, or stopped on request; 1 it could not be done (the data directory is in use, no broker answers, the
topic does not exist); 2 it was asked for in the wrong way (an unknown option, a setting with a bad value). Errors are
lines on stderr, one for each thing that is wrong, and no traceback unless it is a bug.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ottla import __version__
from ottla.cli.kafka.names import TOOLS
from ottla.cli.lazy import Lazy, LazyGroup
from ottla.cli.refusals import Refusals
from ottla.errors import ConfigError, ErrorCode, InvalidInput, OttlaError, RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FAILED = 1
EXIT_USAGE = 2

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

# Commands that are loaded when they are run. The line is the first of the command's own help.
LAZY = {
    "topic": Lazy("ottla.cli.topic:topic", "List, create, describe, change and delete topics."),
    "produce": Lazy("ottla.cli.produce:produce", "Send lines, files or JSON to a topic."),
    "consume": Lazy("ottla.cli.consume:consume", "Print the records of a topic."),
    "group": Lazy("ottla.cli.group:group", "List, describe, reset and delete consumer groups."),
    "transaction": Lazy("ottla.cli.transaction:transaction", "List, describe and abort transactions of producers."),
    "log": Lazy("ottla.cli.log:log", "Look at the files of a log, mend, export and import them."),
    "config": Lazy("ottla.cli.config:config", "Show and change the settings of topics, brokers and groups."),
    "container": Lazy("ottla.cli.container.commands:container", "Run what the container image runs."),
    "install-tools": Lazy(
        "ottla.cli.kafka.install:install_tools", "Write Kafka's commands, kafka-topics.sh and others, into a directory."
    ),
    **TOOLS,
}

# Refusals of a broker that say the request itself is wrong, whatever exists: exit code 2.
ASKED_WRONGLY = frozenset(
    {
        ErrorCode.INVALID_CONFIG,
        ErrorCode.INVALID_GROUP_ID,
        ErrorCode.INVALID_PARTITIONS,
        ErrorCode.INVALID_REPLICATION_FACTOR,
        ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        ErrorCode.INVALID_REGULAR_EXPRESSION,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.INVALID_TOPIC_EXCEPTION,
        ErrorCode.OFFSET_OUT_OF_RANGE,
        ErrorCode.POLICY_VIOLATION,
    }
)

# Settings `ottla serve --help` shows; the rest is in `ottla settings`.
COMMON_SETTINGS = (
    "num.partitions",
    "auto.create.topics.enable",
    "log.retention.hours",
    "log.retention.bytes",
    "log.segment.bytes",
    "message.max.bytes",
    "compression.type",
    "ottla.durability",
)


class ServeCommand(click.Command):
    """Help that ends with settings as the table has them."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's own
        """Write the settings people change most."""
        from ottla.config import BROKER_SETTINGS

        chosen = [BROKER_SETTINGS[name] for name in COMMON_SETTINGS]
        with formatter.section("Settings for --set and --config (all of them: ottla settings)"):
            formatter.write_dl([(f"{setting.name}={setting.text(setting.default)}", setting.doc) for setting in chosen])


# What to do next, where the broker's words do not say it.
HINTS = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: "`ottla topic list` shows what there is",
    ErrorCode.GROUP_ID_NOT_FOUND: "`ottla group list` shows what there is",
    ErrorCode.TRANSACTIONAL_ID_NOT_FOUND: "`ottla transaction list` shows what there is",
    ErrorCode.INVALID_CONFIG: "`ottla settings` shows names and what they allow",
}


@click.group(cls=LazyGroup, lazy=LAZY, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="ottla", message="%(prog)s %(version)s")
def cli() -> None:
    """Ottla: an event log that speaks Kafka."""


@cli.command(cls=ServeCommand)
@click.option("--data-dir", metavar="DIR", help="Where the data lives; made if it is missing. [or log.dirs]")
@click.option(
    "--listen", metavar="HOST:PORT", help="Where clients connect; port 0 is a free one. [127.0.0.1:9092, or listeners]"
)
@click.option("--advertise", metavar="HOST:PORT", help="What clients are told to connect to. [or advertised.listeners]")
@click.option("--config", "config_file", metavar="FILE", help="A server.properties with Kafka's names.")
@click.option(
    "--set", "assignments", metavar="NAME=VALUE", multiple=True, help="One setting, over the file. `ottla settings`."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="The least severe lines to log, on stderr.",
)
def serve(
    data_dir: str | None,
    listen: str | None,
    advertise: str | None,
    config_file: str | None,
    assignments: tuple[str, ...],
    log_level: str,
) -> None:
    """Run a broker until it is told to stop (SIGTERM, Ctrl-C).

    Settings have Kafka's names. Later sources count over earlier ones: their defaults, the file, --set, the other
    options.
    """
    from ottla.cli.serve import serve as run

    run(data_dir, listen, advertise, config_file, assignments, log_level)


@cli.command()
@click.argument("words", nargs=-1)
@click.option("--topic", "scope", flag_value="topic", help="Settings of topics only.")
@click.option("--broker", "scope", flag_value="broker", help="Settings of the broker only.")
@click.option("--group", "scope", flag_value="group", help="Settings of single groups only.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def settings(words: tuple[str, ...], scope: str | None, as_json: bool) -> None:
    """List the settings whose names contain WORDS, with type, default and allowed values."""
    from ottla.cli.settings import show

    show(words, scope, as_json=as_json)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    try:
        # click gives the code of an `Exit` back, and otherwise what the command returns, which is nothing.
        done = cli.main(args=None if arguments is None else list(arguments), prog_name="ottla", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return EXIT_USAGE
    except click.UsageError as error:
        _complain(_usage(error))
        return EXIT_USAGE
    except click.ClickException as error:
        _complain(error.format_message())
        return EXIT_USAGE
    except click.Abort:
        return EXIT_FAILED
    except ConfigError as error:
        for problem in error.problems:
            _complain(problem)
        return EXIT_USAGE
    except Refusals as refusals:
        for what, refused in refusals.items:
            _complain(f"{what}: {_words(refused)}")
        return max(exit_code(refused) for _, refused in refusals.items)
    except RequestError as error:
        _complain(_words(error))
        return exit_code(error)
    except InvalidInput as error:
        _complain(str(error))
        return EXIT_USAGE
    except UnicodeEncodeError as error:
        # Bytes of the command line that are no UTF-8 come as lone surrogates.
        _complain(f"{error.object!a:.80} is not UTF-8, which keys, names and values must be")
        return EXIT_USAGE
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        _complain(said if error.filename is None else f"{error.filename}: {said}")
        return EXIT_FAILED
    except OttlaError as error:
        _complain(str(error))
        return EXIT_FAILED
    return done if isinstance(done, int) else 0


def exit_code(error: RequestError) -> int:
    """Tell a request that was wrong in itself from one that could not be done."""
    return EXIT_USAGE if error.code in ASKED_WRONGLY else EXIT_FAILED


def _words(error: RequestError) -> str:
    hint = HINTS.get(error.code)
    return f"{error.message.rstrip('.')} ({error.code.name})" + (f"; {hint}" if hint else "")


def _usage(error: click.UsageError) -> str:
    said = " ".join(error.format_message().split())
    if error.ctx is None:
        return said
    stop = "" if said.endswith((".", "?")) else "."
    return f"{said}{stop} See: {error.ctx.command_path} --help"


def _complain(sentence: str) -> None:
    print(f"ottla: {' '.join(sentence.split())}", file=sys.stderr)
