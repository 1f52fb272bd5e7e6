"""The tools as commands of `ottla`: words go to the tool as they are, and its exit code comes back.

`ottla kafka-topics.sh`, as it would be typed from habit, is not a command; the scripts of `ottla install-tools` are.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from ottla.cli.kafka.names import TOOLS
from ottla.cli.kafka.usage import ToolExit, complain

if TYPE_CHECKING:
    from typing import Any


class Tool(click.Command):
    """One of Kafka's tools. Its own parser reads the words, `--help` among them."""

    def __init__(self, name: str, module: str, function: str = "run") -> None:
        super().__init__(name, help=TOOLS[name].help, add_help_option=False)
        self._module = module
        self._function = function

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave the words to the tool."""
        ctx.args = list(args)
        return []

    def invoke(self, ctx: click.Context) -> Any:
        """Run the tool; what it ends with is the exit code of the process."""
        run = getattr(import_module(f"ottla.cli.kafka.{self._module}"), self._function)
        try:
            code = run(ctx.args)
            sys.stdout.flush()
        except ToolExit as ended:
            code = ended.code
        except UnicodeEncodeError as error:
            # Bytes of the command line that are no UTF-8 come as lone surrogates.
            complain(f"{error.object!a:.80} is not UTF-8")
            code = 1
        except KeyboardInterrupt:
            code = 130
        except BrokenPipeError:
            # Whoever read the output has had enough (`| head`).
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 1
        raise click.exceptions.Exit(code)


topics = Tool("kafka-topics", "topics")
console_producer = Tool("kafka-console-producer", "console_producer")
console_consumer = Tool("kafka-console-consumer", "console_consumer")
consumer_groups = Tool("kafka-consumer-groups", "consumer_groups")
transactions = Tool("kafka-transactions", "transactions")
configs = Tool("kafka-configs", "configs")
storage = Tool("kafka-storage", "storage")
server_start = Tool("kafka-server-start", "server", "start")
server_stop = Tool("kafka-server-stop", "server", "stop")
get_offsets = Tool("kafka-get-offsets", "get_offsets")
delete_records = Tool("kafka-delete-records", "delete_records")
log_dirs = Tool("kafka-log-dirs", "log_dirs")
broker_api_versions = Tool("kafka-broker-api-versions", "broker_api_versions")
cluster = Tool("kafka-cluster", "cluster")
