"""What the documentation says is true where a machine can tell: generated pages are current, links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_house import LEVELS, ROOT, relative, tracked
from tools import api_table

LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
PAGES = [path for path in tracked() if path.suffix == ".md"]


def test_configuration_page_is_current() -> None:
    """The page of settings is what the table of settings renders to."""
    result = subprocess.run(
        [sys.executable, "tools/settings_page.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_to_files(page: Path) -> None:
    """A relative link names a file or folder of this repository, and a heading that is in it."""
    text = unfenced(page)
    broken = [match[1] for match in LINK.finditer(text) if not (page.parent / match[1]).exists()]
    assert not broken, f"{relative(page)} links to {broken}"
    wanted = [(page.parent / match[1], match[2]) for match in LINK.finditer(text) if match[2]]
    wanted += [(page, match[1]) for match in re.finditer(r"\]\((#[^)\s]+)\)", text)]
    missing = [
        f"{path.name}{anchor}" for path, anchor in wanted if path.suffix == ".md" and anchor[1:] not in anchors(path)
    ]
    assert not missing, f"{relative(page)} links to headings that are not there: {missing}"


def unfenced(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """What the headings of a page can be linked by, as forges make them."""
    headings = re.findall(r"^#+ (.+?)\s*$", unfenced(page), re.MULTILINE)
    shown = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in shown}


def test_readme_lists_what_is_served() -> None:
    """The README's table of APIs is the table that ApiVersions is answered from."""
    readme = (ROOT / "README.md").read_text()
    assert api_table.HEAD in readme
    assert api_table.updated(readme) == readme, "run python tools/api_table.py"


def test_architecture_names_what_exists() -> None:
    """Every path in ARCHITECTURE.md is there, and every part of the house that exists is on its map."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = set(re.findall(r"`((?:rust|python|tests|benches|examples|tools|docs)(?:/[\w.]+)*)/?`", text))
    assert not {path for path in named if not (ROOT / path).exists()}
    crates = {f"rust/{path.parent.name}" for path in tracked("rust/*/Cargo.toml")}
    assert crates <= named, f"not on the map: {sorted(crates - named)}"
    examples = {f"examples/{path.parent.name}" for path in tracked("examples/*/__main__.py")}
    assert examples <= named, f"not on the map: {sorted(examples - named)}"
    modules = {
        path.relative_to(ROOT / "python" / "ottla").parts[0].removesuffix(".py") for path in tracked("python/ottla")
    }
    missing = {name for name in modules & LEVELS.keys() if f"`{name}`" not in text}
    assert not missing, f"not on the map: {sorted(missing)}"
