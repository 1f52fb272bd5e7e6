"""nisshi as a peer: a broker in Rust over a store, here SQLite in the data directory (its storage on a local disk).

`cargo install nisshi --version 0.8.1 --locked --no-default-features --features dynostore,libsql` puts it on the path;
NISSHI names another place. Settings of Apache Kafka mean nothing to it: its rows stand beside those of the others, with
whatever durability its store has.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from tests.processes import Process

HOW = "cargo install nisshi --version 0.8.1 --locked --no-default-features --features dynostore,libsql"


def program() -> str:
    """Where it is."""
    found = os.environ.get("NISSHI") or shutil.which("nisshi")
    if found is None:
        raise RuntimeError(f"nisshi not found: {HOW}")
    return found


def version() -> str:
    """What it says of itself."""
    said = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    found = re.search(r"\d+\.\d+\S*", said)
    return found[0] if found else said.strip()


class NisshiProcess(Process):
    """One nisshi broker."""

    name = "nisshi"

    def command(self) -> list[str]:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        url = f"tcp://{self.bootstrap}"
        store = f"sqlite://{self.data_dir}/nisshi.db"
        words = [program(), "--listener-url", url, "--advertised-listener-url", url]
        return [*words, "--storage-engine", store]
