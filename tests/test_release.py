"""The release workflow cannot run here; what can be read of it is held true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_house import ROOT, relative, tracked
from tools import release_version

TEXT = (ROOT / ".github" / "workflows" / "release.yml").read_text()
# YAML 1.1 reads `on` as a truth.
WORKFLOW: dict[Any, Any] = yaml.safe_load(TEXT)
JOBS: dict[str, Any] = WORKFLOW["jobs"]


def steps() -> list[dict[str, Any]]:
    return [step for job in JOBS.values() for step in job["steps"]]


def test_nothing_is_published_untried() -> None:
    """Only a tag publishes, after every job that builds; each of these uses what it built before it hands it on."""
    assert WORKFLOW[True] == {"push": {"tags": ["v*"]}, "workflow_dispatch": None}
    builds = set(JOBS) - {"version", "publish"}
    assert set(JOBS["publish"]["needs"]) == builds == {"linux", "elsewhere", "sdist"}
    assert JOBS["publish"]["if"] == "github.ref_type == 'tag'"
    for name in builds:
        runs = [str(step.get("run") or step["uses"]) for step in JOBS[name]["steps"]]
        tried = [number for number, words in enumerate(runs) if "tools/check_wheel.py" in words]
        (handed_on,) = [number for number, words in enumerate(runs) if "upload-artifact" in words]
        assert tried
        assert max(tried) < handed_on
        assert JOBS[name]["needs"] == "version"


def test_who_may_do_what() -> None:
    """No secret is used: the one job that publishes proves who it is, and all others may only read."""
    assert "secrets." not in TEXT
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert {name: job["permissions"] for name, job in JOBS.items() if "permissions" in job} == {
        "publish": {"id-token": "write"}
    }
    for step in steps():
        if str(step.get("uses", "")).startswith("actions/checkout@"):
            assert step["with"] == {"persist-credentials": False}
        # What somebody else may have named comes in as data, not as a part of a command.
        assert "${{" not in step.get("run", "")


def test_every_platform() -> None:
    """Both C libraries of Linux, macOS and Windows, each on both kinds of processor."""
    linux = {(each["target"], each["libc"].split("_")[0]) for each in JOBS["linux"]["strategy"]["matrix"]["include"]}
    assert linux == {(target, libc) for target in ("x86_64", "aarch64") for libc in ("manylinux", "musllinux")}
    elsewhere = [each["runner"].split("-")[0] for each in JOBS["elsewhere"]["strategy"]["matrix"]["include"]]
    assert sorted(elsewhere) == ["macos", "macos", "windows", "windows"]


def test_versions_are_those_of_the_project() -> None:
    """The compiler is that of Cargo.toml, the actions are pinned, and the scripts it calls are there."""
    rust = re.search(r'^rust-version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert rust is not None
    used = {step["with"]["rust-toolchain"] for step in steps() if "rust-toolchain" in step.get("with", {})}
    assert used == {rust[1]}
    for step in steps():
        if "uses" in step:
            assert re.fullmatch(r"[\w./-]+@(v\d+|release/v1)", step["uses"])
        for path in re.findall(r"tools/\w+\.py", step.get("run", "")):
            assert (ROOT / path).is_file()


def left_out(patterns: list[Any]) -> re.Pattern[str]:
    """What the patterns of maturin for an sdist match: `*` within a folder, `**` anything, `{a,b}` either."""
    shown = [each if isinstance(each, str) else each["path"] for each in patterns]
    braces = [re.sub(r"{([^}]*)}", lambda found: f"(?:{found[1].replace(',', '|')})", each) for each in shown]
    return re.compile(
        "|".join(each.replace("**/*", "<all>").replace("*", "[^/]*") for each in braces).replace("<all>", ".*")
    )


def test_the_sdist_can_be_built_from() -> None:
    """Cargo.lock is of the whole workspace and must not change: each member is there, with all that it declares."""
    maturin = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["maturin"]
    assert maturin["sdist-generator"] == "git"
    assert maturin["locked"]
    members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    gone = left_out(maturin["exclude"])
    names = [relative(path) for path in tracked()]
    wanted = tuple(f"{member}/{part}" for member in members for part in ("Cargo.toml", "src/", "benches/"))
    needed = ("python/", ".cargo/", "Cargo.", "pyproject.toml", "README.md", "LICENSE", "NOTICE", *wanted)
    assert not [name for name in names if name.startswith(needed) and gone.fullmatch(name)]
    assert gone.fullmatch("tests/wire/test_bad_input.py")
    assert gone.fullmatch("rust/log/tests/engine.rs")
    assert gone.fullmatch("benches/bars.py")


@pytest.mark.parametrize(
    "tag, package, changelog, said",
    [
        ("v1.2.3", "1.2.3", "## [Unreleased]\n\n## [1.2.3] - 2026-12-01\n", ""),
        ("", "1.2.3", "## [Unreleased]\n", ""),
        ("v1.2.4", "1.2.3", "\n## [1.2.3] - 2026-12-01\n", "the tag v1.2.4"),
        ("v1.2.3", "1.2.2", "\n## [1.2.3] - 2026-12-01\n", "ottla.__version__ 1.2.2"),
        ("v1.2.3", "1.2.3", "## [Unreleased]\n", "no entry for 1.2.3"),
    ],
)
def test_one_version(tag: str, package: str, changelog: str, said: str, tmp_path: Path) -> None:
    """A release of another version than its tag, its package or the changelog says is not built."""
    (tmp_path / "python" / "ottla").mkdir(parents=True)
    (tmp_path / "Cargo.toml").write_text('[workspace.package]\nversion = "1.2.3"\n')
    (tmp_path / "python" / "ottla" / "__init__.py").write_text(f'__version__ = "{package}"\n')
    (tmp_path / "CHANGELOG.md").write_text(changelog)
    found = release_version.problems(tmp_path, tag)
    assert (not found) if not said else (len(found) == 1 and said in found[0])
    assert not release_version.problems(ROOT, "")
