"""Node and KafkaJS: `npm ci` once per change of js/package-lock.json, into js/node_modules (ignored by git)."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).with_name("js")
MODULES = FOLDER / "node_modules"
NEEDED = (18, 0)


def missing() -> str | None:
    """Why programs with KafkaJS cannot be run here, or None."""
    absent = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if absent:
        return f"{' and '.join(absent)} not found: needed to run KafkaJS (Node {NEEDED[0]} or later)"
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if tuple(int(number) for number in said.removeprefix("v").split(".")[:2]) < NEEDED:
        return f"node is {said}: the tests with KafkaJS need Node {NEEDED[0]} or later"
    return None


def install() -> Path:
    """The folder of packages, as package-lock.json says."""
    wanted = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    stamp = MODULES / ".installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        done = subprocess.run(["npm", "ci"], cwd=FOLDER, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"npm ci: {done.stdout}{done.stderr}"
        stamp.write_text(wanted)
    return MODULES
