"""Where the reference's jars lie: Maven resolves pom.xml once, the classpath is kept under target/ (git-ignored).

Java and Maven are needed for interoperability tests only: without them `missing()` gives the reason, which skips the
tests on a person's machine and fails them where CI=true.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

VERSION = "4.3.1"
ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "target" / "kafka"
POM = Path(__file__).with_name("pom.xml")
_one_at_a_time = threading.Lock()


def missing() -> str | None:
    """Why Apache Kafka cannot be run here, or None."""
    absent = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    return f"{' and '.join(absent)} not found: needed to run Apache Kafka {VERSION} beside Ottla" if absent else None


def classpath(pom: Path = POM) -> str:
    """What a pom.xml asks for: Kafka's own classpath, if no other is named. The first call on a machine downloads the
    jars into Maven's own repository.
    """
    with _one_at_a_time:
        return _classpath(pom)


def _classpath(pom: Path) -> str:
    CACHE.mkdir(parents=True, exist_ok=True)
    kept = CACHE / f"classpath-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if kept.exists():
        text = kept.read_text()
        if all(Path(jar).exists() for jar in text.split(os.pathsep)):
            return text
    partial = kept.with_suffix(f".{os.getpid()}")
    subprocess.run(
        ["mvn", "-q", "-B", "-f", str(pom), "dependency:build-classpath", f"-Dmdep.outputFile={partial}"],
        check=True,
        timeout=300,
        stdout=subprocess.DEVNULL,
    )
    partial.replace(kept)  # whole or not at all, also with two test runs at once
    return kept.read_text()


def compiled(sources: Sequence[Path], built_with: str) -> Path:
    """The folder of classes of Java sources, compiled once per change of theirs, with this classpath."""
    CACHE.mkdir(parents=True, exist_ok=True)
    content = hashlib.sha256(built_with.encode())
    for path in sorted(sources):
        content.update(path.read_bytes())
    kept = CACHE / f"java-classes-{content.hexdigest()[:12]}"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            compiler = ("java", "-XX:TieredStopAtLevel=1", "-m", "jdk.compiler/com.sun.tools.javac.Main")
            options = ("--release", "11", "-proc:none", "-d", scratch, "-cp", built_with)
            subprocess.run([*compiler, *options, *map(str, sources)], check=True, timeout=120)
            if not kept.exists():
                shutil.copytree(scratch, kept)
    return kept


def java(*arguments: str, heap: str = "512M") -> list[str]:
    """A command that runs one of Kafka's classes with a short start: no second-stage compiler, no parallel
    collector.
    """
    return ["java", f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classpath(), *arguments]
