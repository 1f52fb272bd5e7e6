"""Kafka's Java client in several versions: their jars by Maven, and the programs of java/ compiled once for all.

They are compiled against the oldest version and run with each. Maven resolves every classpath in one run; what it found
is kept under target/ (git-ignored).
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import threading
from pathlib import Path

from tests.kafka import jars

FOLDER = Path(__file__).with_name("java")
VERSIONS = ("4.4.0", "4.3.1", "3.7.1", "2.8.2")
JVM = ("java", "-Xmx256M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_one_at_a_time = threading.Lock()


def _hash(*patterns: str) -> str:
    found = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in FOLDER.glob(pattern)):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


def _whole(folder: Path) -> bool:
    return all(
        (folder / version).exists()
        and all(Path(jar).exists() for jar in (folder / version).read_text().split(os.pathsep))
        for version in VERSIONS
    )


@functools.cache
def classpath(version: str) -> str:
    """The classpath of one version. The first call on a machine downloads the jars of all."""
    kept = jars.CACHE / f"java-clients-{_hash('pom.xml', '*/pom.xml')}"
    with _one_at_a_time:
        if not _whole(kept):
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir(parents=True)
            subprocess.run(
                ["mvn", "-q", "-B", "-f", str(FOLDER / "pom.xml"), "dependency:build-classpath", f"-Dkept={kept}"],
                check=True,
                timeout=300,
                stdout=subprocess.DEVNULL,
            )
    return (kept / version).read_text()


@functools.cache
def classes() -> Path:
    """The compiled programs."""
    return jars.compiled(sorted(FOLDER.glob("*.java")), classpath(VERSIONS[-1]))


def java(version: str, *arguments: str) -> list[str]:
    """A command that runs one of the programs with this version of the client."""
    return [*JVM, "-cp", os.pathsep.join((str(classes()), classpath(version))), *arguments]
