"""What the pages in docs name exists: names of `ottla`, commands, goals of make, files; and the site has every page."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest

import ottla
from ottla import _core
from ottla.config import BROKER_SETTINGS, TOPIC_SETTINGS
from ottla.coordinator.shard import RuntimeStatus, ShardStatus
from tests.test_house import ROOT, relative
from tests.unit.cli.test_bad_input import parse_line
from tools import api_page, docs_site

DOCS = sorted((ROOT / "docs").glob("*.md"))
API = (ROOT / "docs" / "api.md").read_text()
FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


def test_api_page_is_current() -> None:
    """The API reference is what docstrings and stubs say."""
    result = subprocess.run(
        [sys.executable, "tools/api_page.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_api_page_has_every_name() -> None:
    """What can be imported from `ottla` has a heading, asked of the running package and not of its source."""
    headings = set(re.findall(r"^#+ (.+)$", API, re.MULTILINE))
    offered = {f"ottla.{name}" for name in ottla.__all__ if name != "__version__"}
    assert not offered - headings


@pytest.mark.parametrize(
    "found",
    [
        *(ottla.Log, ottla.Record, ottla.Columns, ottla.LogStatus, ottla.Broker, ottla.BrokerStatus),
        *(ottla.Records, ottla.Follow, _core.Arrival, RuntimeStatus, ShardStatus),
    ],
    ids=lambda found: found.__name__,
)
def test_api_page_has_every_member(found: type) -> None:
    """Methods and properties have a heading, fields a row in the table of their class."""
    _, _, behind = API.partition(f"### ottla.{found.__name__}\n")
    text = (behind or API.partition(f"### {found.__name__}\n")[2]).partition("\n### ")[0]
    members = {name for name in {*dir(found), *found.__annotations__} if not name.startswith("_")}
    missing = {
        name for name in members if f"#### {found.__name__}.{name}\n" not in text and f"\n| `{name}` |" not in text
    }
    assert members
    assert not missing


def test_a_signature_is_shown_as_it_is_written() -> None:
    """Parameters, their kinds, defaults and types."""
    source = "def f(self, a: int, b: str | None = None, *, c: _core.Record, d: bool = True) -> None: ..."
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert api_page.signature("f", function) == "f(a: int, b: str | None = None, *, c: Record, d: bool = True) -> None"
    told = "Does it.\n\n`a`: one, `b`: no parameter begins here; `b`: two.\n`c`, `d`: three."
    assert api_page.listed(told, function) == (
        "Does it.\n\n- `a`: one, `b`: no parameter begins here;\n- `b`: two.\n- `c`, `d`: three."
    )


@pytest.mark.parametrize("page", DOCS, ids=relative)
def test_names_exist(page: Path) -> None:
    """`ottla.Name`, and `log.name()` where a log is meant, are there to be used."""
    text = page.read_text()
    for name in re.findall(r"`(ottla(?:\.\w+)+)", text):
        words = name.split(".")[1:]
        if name not in BROKER_SETTINGS and name not in TOPIC_SETTINGS:
            is_module = words[0] in MODULES
            reduce(getattr, words[is_module:], import_module(f"ottla.{words[0]}") if is_module else ottla)
    for name in re.findall(r"`log\.(\w+)(?=\()", text):
        assert hasattr(ottla.Log, name), f"log.{name}"


# Modules that are spoken of; the top of the package imports none of them by itself.
MODULES = {"errors", "testing", "_core"}


@pytest.mark.parametrize("page", DOCS, ids=relative)
def test_commands_and_files_exist(page: Path) -> None:
    """Nobody copies a line that is not understood, and what a page points at in the repository is there."""
    text = page.read_text()
    goals = set(re.findall(r"^([a-z%-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)
    assert not {goal for goal in shown if goal not in goals and not goal.startswith("example-")}
    named = re.findall(r"`((?:rust|python|tests|benches|examples|tools|docs)/[\w./]+)`", text)
    assert not {path for path in named if not (ROOT / path).exists()}
    for block in FENCED.finditer(text):
        if block["language"] in {"", "sh"}:
            for line in block["text"].splitlines():
                parse_line(line)


def test_every_program_is_run() -> None:
    """A page with a Python program is one of those whose programs are run, each with what it prints below it."""
    for page in DOCS:
        text = page.read_text()
        programs = len(re.findall(r"^```python$", text, re.MULTILINE))
        assert programs == len(re.findall(r"^```python\n.*?^```\n\n```text$", text, re.DOTALL | re.MULTILINE))
        assert not programs or page.name in {"embed.md", "start.md"}, f"{page.name}: tests/embed/test_docs.py runs it"


def test_faults_that_were_found() -> None:
    """The page about durability has each test of what the simulator found."""
    page = (ROOT / "docs" / "durability.md").read_text()
    tests = re.findall(r"^#\[test\]\nfn (\w+)", (ROOT / "rust/sim/tests/found.rs").read_text(), re.MULTILINE)
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == tests


def test_site_has_every_page() -> None:
    """Nothing in docs is left out of the site, and its table of contents names nothing else."""
    project = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    known = docs_site.pages()
    assert sorted(flat(project["nav"])) == sorted(known.values())
    assert len(set(known.values())) == len(known)
    assert {source for source in known if not (ROOT / source).is_file()} == set()


def flat(nav: list[dict[str, object]]) -> list[str]:
    """The pages of a table of contents."""
    found: list[str] = []
    for entry in nav:
        for value in entry.values():
            found += flat(value) if isinstance(value, list) else [str(value)]
    return found


def test_links_of_the_site(tmp_path: Path) -> None:
    """On the site a link leads to a page of it, or to the repository; pictures come along."""
    docs_site.assemble(tmp_path)
    for path in tmp_path.rglob("*.md"):
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        for match in docs_site.LINK.finditer(text):
            assert (path.parent / match["path"]).is_file(), f"{path.name}: {match[0]}"
    text = (tmp_path / "index.md").read_text()
    assert "](format.md)" in text
    assert "](examples/flights.md)" in text
    assert f"]({docs_site.repository()}/blob/main/NOTICE)" in (tmp_path / "contributing.md").read_text()
    assert "](../pictures/examples-flights-flights.png)" in (tmp_path / "examples" / "flights.md").read_text()


SITE = {
    "index.html": '<a href="embed/">a</a><a href="embed/#here">b</a><a href="https://example.org">c</a>',
    "embed/index.html": '<h1 id="here">x</h1><a href="..">up</a><img src="../p.png"><p>plain</p>',
    "p.png": "",
}


@pytest.mark.parametrize(
    "place, text, said",
    [
        ("index.html", '<a href="lost/">x</a>', "links to lost/: there is no such page"),
        ("index.html", '<a href="embed/#lost">x</a>', "links to embed/#lost: there is no such heading"),
        ("index.html", '<a href="#lost">x</a>', "links to #lost: there is no such heading"),
        ("embed/index.html", '<h1 id="here">x</h1><img src="../q.png">', "links to ../q.png: there is no such page"),
        ("index.html", '<script src="https://fonts.example/x.js"></script>', "from elsewhere"),
        ("index.html", "<p>text\n- no list</p>", "Markdown that was not understood: - no list"),
    ],
)
def test_the_check_of_the_site(
    place: str, text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site without a fault passes, and each fault is named."""
    monkeypatch.setattr(docs_site, "pages", lambda: {"docs/index.md": "index.md"})
    for name, content in SITE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert not list(docs_site.problems(tmp_path))
    (tmp_path / place).write_text(text)
    assert [one for one in docs_site.problems(tmp_path) if said in one]
