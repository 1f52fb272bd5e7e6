"""Puts the pages of the documentation site together for zensical, and looks at what it made of them.

    python tools/docs_site.py pages        target/docs/pages: what zensical.toml reads
    python tools/docs_site.py check        target/docs/site: every link leads somewhere, nothing comes from elsewhere

The pages stay where readers of the repository look for them (docs, README.md, rust/log/FORMAT.md, ...). Here they are
copied to one place; a link to a file that is no page of the site becomes one to the repository.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[1]
MADE = ROOT / "target" / "docs"
# Pages outside docs, by their path in the repository.
ELSEWHERE = {
    "README.md": "overview.md",
    "CHANGELOG.md": "changelog.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "rust/log/FORMAT.md": "format.md",
}
PICTURES = {".png", ".svg"}
LINK = re.compile(r"(?<=\]\()(?!https?://|mailto:|#)(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?(?=\))")
FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
ITEM = re.compile(r"(?:[-*]|\d+\.) ")


def pages() -> dict[str, str]:
    """Each page's path in the repository, and on the site."""
    found = {f"docs/{path.name}": path.name for path in sorted((ROOT / "docs").glob("*.md"))}
    for path in sorted((ROOT / "examples").glob("*/README.md")):
        found[path.relative_to(ROOT).as_posix()] = f"examples/{path.parent.name}.md"
    return found | ELSEWHERE


def repository() -> str:
    """Where the sources can be looked at."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["urls"]["Repository"])


def link(source: str, path: str, known: Mapping[str, str]) -> str:
    """Where a link of the page `source` leads, seen from the page's place on the site."""
    there = os.path.normpath(os.path.join(os.path.dirname(source), path))  # noqa: PTH118, PTH120 - no Path has ".." taken out
    here = Path(known[source]).parent
    if there in known:
        return Path(os.path.relpath(known[there], here)).as_posix()
    if Path(there).suffix in PICTURES:
        return Path(os.path.relpath(picture(there), here)).as_posix()
    kind = "tree" if (ROOT / there).is_dir() else "blob"
    return f"{repository()}/{kind}/main/{there}"


def picture(path: str) -> str:
    """A picture's place on the site."""
    return f"pictures/{path.replace('/', '-')}"


def for_site(source: str, text: str, known: Mapping[str, str]) -> str:
    """A page as zensical wants it: links as above, and an empty line before each list, as its Markdown asks for."""
    parts = FENCED.split(text)
    for number in range(0, len(parts), 2):
        moved = LINK.sub(lambda match: link(source, match["path"], known) + (match["anchor"] or ""), parts[number])
        parts[number] = lists_apart(moved)
    return "".join(parts)


def lists_apart(text: str) -> str:
    lines: list[str] = []
    in_list = False
    for line in text.split("\n"):
        is_item = ITEM.match(line) is not None
        if is_item and not in_list and lines and lines[-1].strip():
            lines.append("")
        in_list = is_item or (in_list and bool(line.strip()))
        lines.append(line)
    return "\n".join(lines)


def assemble(into: Path) -> None:
    """Write all pages and their pictures."""
    shutil.rmtree(into, ignore_errors=True)
    known = pages()
    for source, place in known.items():
        target = into / place
        target.parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / source).read_text()
        target.write_text(for_site(source, text, known))
        for match in LINK.finditer(FENCED.sub("", text)):
            shown = os.path.normpath(Path(source).parent / match["path"])
            if Path(shown).suffix in PICTURES:
                (into / picture(shown)).parent.mkdir(exist_ok=True)
                shutil.copy(ROOT / shown, into / picture(shown))


class Page(HTMLParser):
    """What a page links to, loads, and can be linked at; and text that Markdown did not understand."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.odd: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._inside.append(tag)
        if name := given.get("id") or given.get("name"):
            self.anchors.add(name)
        if tag == "a" and (href := given.get("href")):
            self.links.append(href)
        if tag in {"img", "script"} and (src := given.get("src")):
            self.loads.append(src)
        if tag == "link" and given.get("rel") in {"stylesheet", "icon", "preconnect"} and (href := given.get("href")):
            self.loads.append(href)

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._inside[-1:] == ["p"] and (odd := re.search(r"^\s*(\||```|- |#+ ).*", data, re.MULTILINE)):
            self.odd.append(odd[0].strip()[:60])


def problems(site: Path) -> Iterator[str]:
    """What is wrong with the site, in words."""
    read: dict[Path, Page] = {}
    for path in sorted(site.rglob("*.html")):
        page = read[path] = Page()
        page.feed(path.read_text())
    if len(read) <= len(pages()):
        yield f"only {len(read)} pages were made of {len(pages())}"
    for path, page in read.items():
        name = path.relative_to(site).as_posix()
        yield from (f"{name}: Markdown that was not understood: {text}" for text in page.odd)
        yield from (f"{name} loads {url} from elsewhere" for url in page.loads if urlsplit(url).netloc)
        # The page of what was not found has links for wherever it is shown.
        wanted = [] if name == "404.html" else [*page.links, *page.loads]
        for url in wanted:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                yield f"{name} links to {url}: there is no such page"
            elif parts.fragment and target in read and unquote(parts.fragment) not in read[target].anchors:
                yield f"{name} links to {url}: there is no such heading"


def main(arguments: list[str]) -> int:
    if arguments == ["pages"]:
        assemble(MADE / "pages")
        return 0
    if arguments == ["check"]:
        found = sorted(set(problems(MADE / "site")))
        print("\n".join(found) or f"{MADE.relative_to(ROOT)}/site: every link leads somewhere")
        return 1 if found else 0
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
