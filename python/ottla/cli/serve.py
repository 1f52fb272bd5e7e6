"""`ottla serve`: run a broker in the foreground until a signal ends it."""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import os
import resource
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ottla import __version__
from ottla.broker import Broker
from ottla.config import Given
from ottla.config.sources import read_config_file
from ottla.errors import ConfigError, DirectoryInUse, OttlaError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from ottla.broker import BrokerStatus

LISTEN_DEFAULT = "127.0.0.1:9092"
_ANOTHER_DIRECTORY = "choose another directory with --data-dir DIR (or `log.dirs` in the configuration)"

# How long a broker whose metadata log failed may take to end: its disk may not answer at all any more.
FAILED_STOP_S = 30

log = logging.getLogger("ottla")


def serve(
    data_dir: str | None,
    listen: str | None,
    advertise: str | None,
    config_file: str | None,
    assignments: tuple[str, ...],
    log_level: str,
) -> None:
    """Run until SIGTERM or SIGINT; a second signal does not wait for the clean stop."""
    given = [] if config_file is None else read_config_file(config_file)
    given += [_assignment(text) for text in assignments]
    names = {entry.name for entry in given}
    if data_dir is None and not names & {"log.dirs", "log.dir"}:
        raise click.UsageError("say where the data lives: --data-dir DIR, or log.dirs in the configuration")
    if listen is None and "listeners" not in names:
        listen = LISTEN_DEFAULT
    broker = Broker(data_dir, listen=listen, advertise=advertise, config=given)

    set_up_logging(log_level)
    until_stopped(broker)


def set_up_logging(level: str) -> None:
    """Log to stderr, one line each."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True)


def until_stopped(broker: Broker, started: Callable[[Broker], None] = lambda _broker: None) -> None:
    """Run a broker in the foreground until a signal ends it; `started` is called once it serves.

    A broker that cannot change anything any more ends too, as Kafka's process does then, so that whoever supervises it
    sees that and starts another: StorageError, with the reason.
    """
    told_to_stop = threading.Event()
    failures: list[str] = []
    # A wait for a lock can miss a signal: one that comes between Python's last look for signals and the wait, or that
    # the kernel gives to another thread, interrupts nothing. A byte in a pipe is still there. It stays open: the
    # process ends soon after, and nobody shall ring at somebody else's file.
    waiting, bell = os.pipe()
    os.set_blocking(bell, False)

    def stop(number: int, _frame: FrameType | None) -> None:
        log.info("stopping on %s", signal.Signals(number).name)
        told_to_stop.set()
        # A second one ends the process at once.
        signal.signal(number, signal.SIG_DFL)

    def fail(reason: str) -> None:
        failures.append(reason)
        told_to_stop.set()
        with contextlib.suppress(BlockingIOError):  # it is full of others then, which wake as well
            os.write(bell, b"!")

    raise_descriptor_limit()
    collect_garbage_seldom()
    broker.on_failure = fail
    signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        broker.start()
    except DirectoryInUse as error:
        raise DirectoryInUse(f"{error}; end that one, or {_ANOTHER_DIRECTORY}") from error
    except StorageError as error:
        if str(error).startswith("cannot create "):
            raise StorageError(f"{error}; {_ANOTHER_DIRECTORY}, one that this user may make and write to") from error
        raise
    except OSError as error:
        if hint := _elsewhere(str(error)):
            raise OttlaError(f"{error}; {hint}") from error
        raise
    try:
        click.echo(banner(broker.status(), str(broker.config["ottla.durability"])))
        started(broker)
        while not told_to_stop.is_set():
            os.read(waiting, 1)
    finally:
        signal.set_wakeup_fd(-1)
        if failures:
            _stop_failed(broker)
        else:
            broker.stop()
    if failures:
        raise StorageError(f"the broker has ended because it could change nothing any more: {failures[0]}")


def _elsewhere(said: str) -> str | None:
    """What to do about an address on which nobody can listen."""
    if not said.startswith("cannot listen on "):
        return None
    if f"(os error {errno.EADDRINUSE})" in said:
        who = "another process listens there, a broker that is running already perhaps: stop it, or "
    else:
        who = ""
    return f"{who}choose another address with --listen HOST:PORT (or `listeners` in the configuration)"


def raise_descriptor_limit() -> None:
    """Take as many descriptors as the process may have, as Java does: the soft limit is there for select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        log.debug("the limit of open files stays: %s", error)


def collect_garbage_seldom() -> None:
    """Let a process that is a broker's own look for cycles seldom; `ottla.Broker` leaves that to the program it is in.

    What a broker keeps is let go of by counting. With Python's own thresholds everything there is, a million committed
    offsets and their groups, is walked over again and again while it grows and under load, for tenths of a second in
    which no heartbeat is answered, and nothing is found.
    """
    gc.freeze()
    gc.set_threshold(5_000, 5, 1_000)


def _stop_failed(broker: Broker) -> None:
    """Stop in order as far as that goes, and end the process if it does not."""
    last_resort = threading.Timer(FAILED_STOP_S, os._exit, (1,))
    last_resort.daemon = True
    last_resort.start()
    try:
        broker.stop()
    except StorageError as error:
        # What did not reach the disk is checked at the next start.
        log.warning("not stopped cleanly: %s", error)
    last_resort.cancel()


def banner(status: BrokerStatus, durability: str) -> str:
    """Say on one screen where it listens, where data lives and how to send a first message."""
    listeners = ", ".join(f"{host}:{port} ({name})" for name, host, port in status.listeners)
    data = ", ".join(str(Path(directory).absolute()) for directory in status.data_dirs)
    server = status.bootstrap_servers
    promise = "fsync: what is acknowledged is on the disk" if durability == "fsync" else "os: as the system writes it"
    return f"""
  Ottla {__version__}   node {status.node_id} of cluster {status.cluster_id}, {status.controller.topics} topics

    listens on   {listeners}
    clients use  {server}
    data in      {data}
    durability   {promise}

  Send a first message and read it back (pip install kafka-python):

    python -c "import kafka; p = kafka.KafkaProducer(bootstrap_servers='{server}'); p.send('hi', b'you'); p.flush()"
    python -c "import kafka; c = kafka.KafkaConsumer('hi', bootstrap_servers='{server}',
               auto_offset_reset='earliest'); print(next(c).value)"

  Ctrl-C stops it cleanly.
"""


def _assignment(text: str) -> Given:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError([f"--set {text}: write NAME=VALUE"])
    return Given(name.strip(), value.strip(), "--set")
