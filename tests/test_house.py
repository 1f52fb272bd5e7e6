"""The rules of the house that no compiler checks: who may import what, where `unsafe` lives, how long a file may be.

Python: a module imports its own level or a lower one; level 1 (state machines) touches no socket and no native module;
only the composition roots import `ottla._core`. Rust: Cargo refuses what is not declared, so the declarations are read.
Each failure prints the offending edge as `importer -> imported` with the rule it breaks.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

import ottla

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "ottla"

# The level of every module and package of python/ottla. A new one must be entered here.
LEVELS = {
    "errors": 0,
    "types": 0,
    "messages": 0,
    "config": 0,
    "clock": 0,
    "coordinator": 1,
    "controller": 1,
    "protocol": 2,
    "security": 2,
    "broker": 3,
    "coordinators": 3,
    "embed": 3,
    "admin": 4,
    "cli": 5,
    "console": 5,
    "testing": 5,
}
# `ottla` itself and `python -m ottla` show what the top level offers.
FACADE = {"__init__", "__main__"}
CORE_IMPORTERS = {"broker", "embed"}
# Level 1 takes journal, codec, clock and randomness by constructor: it must not be able to reach the real ones.
OUTSIDE_WORLD = {
    *("asyncio", "os", "pathlib", "random", "secrets", "selectors", "signal", "socket"),
    *("ssl", "struct", "subprocess", "tempfile", "threading", "time", "uvloop"),
}
# Cargo: crates that may never appear (not even as a development dependency) in a crate's manifest.
CRATE_REFUSES = {
    "log": {"ottla-sim", "ottla-protocol", "ottla-server", "ottla-py", "tokio", "pyo3"},
    "protocol": {"ottla-log", "ottla-server", "ottla-py", "tokio", "pyo3"},
    "server": {"ottla-py", "pyo3"},
    "sim": {"ottla-protocol", "ottla-server", "ottla-py", "tokio", "pyo3"},
}

FILE_LINES_MAX = 500
# Files that are longer, each with the reason. Remove the entry when the file shrinks: a stale one fails too.
LONGER: dict[str, str] = {
    "python/ottla/_core.pyi": "the manual of one module, and a stub of a module is one file",
}
GENERATED_OR_DATA = re.compile(
    r"^tests/tools/fixtures/|(^|/)(Cargo\.lock|LICENSE|package-lock\.json)$|\.(json|csv|dump|tsv|png|lock|bin|hex)$"
)

# Where `unsafe` may be written, each with the reason. Everywhere else the workspace lint denies it.
UNSAFE: dict[str, str] = {
    "rust/log/src/env/cachestat.rs": "cachestat: one system call that rustix lacks",
    "rust/log/src/env/write_out.rs": "sync_file_range: one system call that rustix lacks",
    "rust/log/src/env/lock.rs": "open-file-description locks: one fcntl that rustix lacks",
    "rust/py/src/local/arrow.rs": "the Arrow C data interface: structs with pointers and callbacks",
    "rust/py/src/local/view.rs": "a record's bytes through the buffer protocol, which is a raw pointer",
    "rust/protocol/tests/memory.rs": "an allocator that counts, to prove the bound on memory per frame",
    "rust/server/tests/allocations.rs": "an allocator that counts how often a Produce asks for memory",
}

# What would tie the project to the machine it was written on.
WORKPLACE = re.compile(
    r"(?<![\w.])/(work|root|home/\w+|Users/\w+)/"  # somebody's directories
    # Somebody's scratch; examples in the docs may say /tmp/ottla, and Kafka's images have two folders there.
    r"|(?<![\w.])/tmp/(?!ottla|kafka|kraft-combined-logs)\w"
    r"|\b(artifactory|nexus|mirror)\.\w+\.\w"  # a company's package registry
)


@cache
def tracked(*patterns: str) -> tuple[Path, ...]:
    """Files under version control, plus new ones that are not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return tuple(sorted({ROOT / name for name in names if name and (ROOT / name).is_file()}))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> list[tuple[int, str]]:
    """Every module the file imports as (line, dotted name), also inside functions and under TYPE_CHECKING."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            # `from ottla import broker` names a module, `from ottla.broker import Broker` a thing inside one.
            found += [(node.lineno, f"{module}.{alias.name}" if module == "ottla" else module) for alias in node.names]
    return found


def top(path: Path) -> str:
    """The entry of LEVELS a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def part_of_ottla(module: str) -> str | None:
    """The entry of LEVELS an import names, None for another package."""
    words = module.split(".")
    return words[1] if words[0] == "ottla" and len(words) > 1 else None


def package_files() -> list[Path]:
    return [path for path in tracked("python/ottla") if path.suffix == ".py"]


def test_every_module_has_a_level() -> None:
    """A module that the table does not know could import anything."""
    unknown = {top(path) for path in package_files()} - LEVELS.keys() - FACADE
    assert not unknown, f"enter these in LEVELS: {sorted(unknown)}"


def test_no_module_imports_a_higher_level() -> None:
    """Arrows point down, so that a state machine never learns who drives it."""
    wrong = []
    for path in package_files():
        name = top(path)
        for line, module in imports(path):
            part = part_of_ottla(module)
            if name in LEVELS and part in LEVELS and LEVELS[part] > LEVELS[name]:
                edge = (
                    f"{relative(path)}:{line}: ottla.{name} (level {LEVELS[name]}) -> {module} (level {LEVELS[part]})"
                )
                wrong.append(edge)
    assert not wrong, "\n".join(["a module imports its own level or lower:", *wrong])


def test_only_the_composition_roots_import_the_native_module() -> None:
    """Everybody else is handed objects, which is why everybody else can be tested without a build."""
    wrong = [
        f"{relative(path)}:{line}: ottla.{top(path)} -> {module}"
        for path in package_files()
        for line, module in imports(path)
        if part_of_ottla(module) == "_core" and top(path) not in CORE_IMPORTERS
    ]
    assert not wrong, "\n".join([f"only {sorted(CORE_IMPORTERS)} import ottla._core:", *wrong])


def test_state_machines_cannot_reach_the_outside_world() -> None:
    """Level 1 takes time, disk and randomness by constructor; a clock it imported could not be turned in a test."""
    wrong = [
        f"{relative(path)}:{line}: ottla.{top(path)} -> {module}"
        for path in package_files()
        for line, module in imports(path)
        if LEVELS.get(top(path)) == 1 and module.split(".")[0] in OUTSIDE_WORLD
    ]
    assert not wrong, "\n".join(["level 1 touches no socket, disk, clock or chance of its own:", *wrong])


@pytest.mark.parametrize("crate", sorted(CRATE_REFUSES))
def test_crates_stay_apart(crate: str) -> None:
    """The log and the wire know neither each other nor a runtime; only `py` names pyo3."""
    manifest = tomllib.loads((ROOT / "rust" / crate / "Cargo.toml").read_text())
    tables = [manifest, *manifest.get("target", {}).values()]
    declared = {
        name: f"rust/{crate}/Cargo.toml [{kind}] {name}"
        for table in tables
        for kind in ("dependencies", "dev-dependencies", "build-dependencies")
        for name in table.get(kind, {})
    }
    wrong = [
        edge
        for name, edge in declared.items()
        if any(name == no or name.startswith(f"{no}-") for no in CRATE_REFUSES[crate])
    ]
    assert not wrong, "\n".join([f"crate {crate} may not depend on:", *wrong])


def test_no_file_is_long_without_a_reason() -> None:
    """Past 500 lines somebody has to say why; the reason stands in LONGER."""
    lengths = {
        relative(path): len(path.read_bytes().splitlines())
        for path in tracked()
        if not GENERATED_OR_DATA.search(relative(path)) and not is_generated(path)
    }
    long = {name: lines for name, lines in lengths.items() if lines > FILE_LINES_MAX}
    assert not long.keys() - LONGER.keys(), (
        f"split, or say why in LONGER: { {n: long[n] for n in long.keys() - LONGER.keys()} }"
    )
    assert not LONGER.keys() - long.keys(), f"no longer long: {sorted(LONGER.keys() - long.keys())}"


def is_generated(path: Path) -> bool:
    """Generated source says so in its first lines and names the script."""
    return b"Generated by tools/" in path.read_bytes()[:600]


def test_nothing_names_the_workplace() -> None:
    """A clone must work anywhere: no directory, host or name of the machine it was written on."""
    wrong = [
        f"{relative(path)}:{number}: {line.strip()[:120]}"
        for path in tracked()
        if path.resolve() != Path(__file__).resolve() and not GENERATED_OR_DATA.search(relative(path))
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if WORKPLACE.search(line)
    ]
    assert not wrong, "\n".join(wrong)


def test_unsafe_is_where_it_is_named() -> None:
    """`unsafe` stays in files that say why; this list is what a reviewer of memory safety has to read."""
    word = re.compile(r"\bunsafe\s*(\{|fn\b|impl\b|trait\b|extern\b)")
    holding = {
        relative(path)
        for path in tracked("rust")
        if path.suffix == ".rs" and any(word.search(line.split("//")[0]) for line in path.read_text().splitlines())
    }
    assert holding == UNSAFE.keys(), (
        f"not named: {sorted(holding - UNSAFE.keys())}; gone: {sorted(UNSAFE.keys() - holding)}"
    )


def test_one_version() -> None:
    """Cargo, the package and the module say the same version."""
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert ottla.__version__ == cargo
