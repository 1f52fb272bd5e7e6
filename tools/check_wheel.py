"""Installs a wheel into an empty environment and uses it there: the release workflow does so on every platform.

    python tools/check_wheel.py dist/ottla-*.whl

It looks at what is in the wheel, runs `ottla`, the README's program without a broker, and the program that uses every
public name; then it prints how long `import ottla` takes and what that imports. Only the standard library is needed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = re.compile(r"ottla-(?P<version>[\w.]+)-cp311-abi3-(?P<platform>\w+)\.whl")
# What the import of a package that is not used yet may cost.
STARTS = 20
IMPORTED = """\
import sys, time
before = set(sys.modules)
begun = time.perf_counter()
import ottla
took = time.perf_counter() - begun
print(took, *sorted(set(sys.modules) - before))
"""


def environment() -> dict[str, str]:
    """This process's own, without what could lead to another Ottla."""
    refused = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MYPYPATH"}
    return {name: value for name, value in os.environ.items() if name not in refused}


def run(*command: object, cwd: Path) -> str:
    """What a command prints; one that fails ends everything with what it said."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment(), capture_output=True, text=True, check=False, timeout=600)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise SystemExit(f"{what}: {found!r}, not {wanted!r}")
    print(f"{what}: as it should be")


def contents(wheel: Path) -> str:
    """Look at a wheel's name and files; its version."""
    match = NAME.fullmatch(wheel.name)
    if match is None:
        raise SystemExit(f"{wheel.name} is no wheel of ours for every Python from 3.11 on")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {"ottla/__init__.py", "ottla/_core.pyi", "ottla/py.typed", "ottla/messages/__init__.pyi"}
    native = "ottla/_core.pyd" if "win" in match["platform"] else "ottla/_core.abi3.so"
    info = f"ottla-{match['version']}.dist-info"
    wanted |= {native, f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE", f"{info}/entry_points.txt"}
    expect("files that are missing", sorted(wanted - names), [])
    stray = sorted(name for name in names if not name.startswith(("ottla/", f"{info}/")))
    expect("files of others", stray, [])
    return match["version"]


def readme_program() -> tuple[str, str]:
    """The README's program that needs no broker, and what it prints."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"### Without a broker\n+```python\n(.*?)```\n+```text\n(.*?)```", text, re.DOTALL)
    if found is None:
        raise SystemExit("README.md has no program without a broker")
    return found[1], found[2]


def check(wheel: Path, directory: Path) -> None:
    """Everything, in an environment made in `directory`."""
    version = contents(wheel)
    made = directory / "environment"
    venv.create(made, with_pip=True)
    programs = made / ("Scripts" if os.name == "nt" else "bin")
    suffix = ".exe" if os.name == "nt" else ""
    python, command = programs / f"python{suffix}", programs / f"ottla{suffix}"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel.resolve(), cwd=directory)
    where = Path(run(python, "-c", "import ottla; print(ottla.__file__)", cwd=directory).strip())
    expect("installed in the new environment", made.resolve() in where.resolve().parents, True)
    expect("ottla --version", run(command, "--version", cwd=directory).split(), ["ottla", version])
    program, printed = readme_program()
    expect("the README's program", run(python, "-c", program, cwd=directory), printed)
    every_name = ROOT / "tests" / "types" / "every_name.py"
    lines = run(python, every_name, directory / "every", cwd=directory).splitlines()
    expect("every public name", lines[-2], f"{version} True")
    run(command, "log", "verify", "orders", cwd=directory)
    starts = [run(python, "-c", IMPORTED, cwd=directory).split() for _ in range(STARTS)]
    best_ms = min(float(took) for took, *_ in starts) * 1000
    print(f"import ottla: {best_ms:.2f} ms, the best of {STARTS}; it imports {' '.join(starts[0][1:])}")


def main(arguments: list[str]) -> None:
    """Check the one wheel that is named."""
    if len(arguments) != 1:
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory(prefix="ottla-wheel-", ignore_cleanup_errors=True) as directory:
        check(Path(arguments[0]), Path(directory))


if __name__ == "__main__":
    main(sys.argv[1:])
