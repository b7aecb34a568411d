"""What the pages say about the code exists: links, paths, modules. Their code blocks run in `tests/pages`."""

import ast
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from tests import reference
from tests.house import FLOORS, ROOT, sources

PAGES = sorted(
    [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
    + list((ROOT / "docs").rglob("*.md"))
)
TOP = (*FLOORS, "polyneuron", "bench", "tests", "docs", "docker", "requirements")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    prose = FENCE.sub("", page.read_text())
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@by_page
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text())):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in slugs(target)):
            broken.append(link)
    assert not broken


@by_page
def test_paths_and_modules_that_are_named_exist(page: Path) -> None:
    text = page.read_text()
    places = "|".join(TOP)
    paths = set(re.findall(rf"(?<![\w./-])((?:{places})/[\w./-]*\w)(?![\w/*<{{%])", text))
    missing = {path for path in paths if not (ROOT / path.partition("::")[0]).exists()}
    modules = set(re.findall(r"python3? -m ([\w.]+)", text)) - {"venv", "pip", "pytest"}
    modules |= set(re.findall(r"\b((?:polyneuron|bench|tests)(?:\.\w+)+)", text)) - {"polyneuron.log"}
    missing |= {name for name in modules if not resolves(name)}
    missing |= set(re.findall(r"(?<!polyneuron\.)\bneuron_core\.\w+", text))
    assert not missing


@pytest.mark.parametrize("page", reference.PAGES)
def test_reference_pages_are_made_from_the_code(page: str) -> None:
    """`python -m tests.reference` writes them anew."""
    assert (reference.DOCS / page).read_text("utf-8") == reference.PAGES[page]()


def test_messages_that_are_explained_are_printed() -> None:
    """Each heading of the page of troubles quotes a text of the product, with … for what varies."""
    quoted = re.findall(
        r"^### `(.+)`$", (reference.DOCS / "troubleshooting.md").read_text("utf-8"), re.MULTILINE
    )
    printed = "\n".join(
        _with_gaps(node)
        for tree in sources(*FLOORS).values()
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
    )
    gaps = {message: ".*".join(map(re.escape, message.split("…"))) for message in quoted}
    assert quoted and [message for message, pattern in gaps.items() if not re.search(pattern, printed)] == []


def _with_gaps(node: ast.JoinedStr | ast.Constant) -> str:
    """A text in one line, with … for what a program fills in."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(
        " ".join(part.value.split("\n")) if isinstance(part, ast.Constant) else "…" for part in parts
    )


def test_the_site_leads_to_every_page() -> None:
    """A page belongs into `nav` of `zensical.toml`, a decision into the list of decisions."""
    site = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]
    listed = set(re.findall(r"'([\w/-]+\.md)'", str(site["nav"])))
    decisions = ROOT / "docs" / "decisions"
    there = {str(page.relative_to(ROOT)) for page in PAGES if page.parent != decisions}
    assert listed == there | {"docs/decisions/README.md"}
    linked = set(re.findall(r"\]\((\d{4}[\w-]+\.md)\)", (decisions / "README.md").read_text("utf-8")))
    assert linked == {page.name for page in decisions.glob("0*.md")}


def test_the_map_lists_every_room() -> None:
    listed = set(
        re.findall(r"^\| (?:\*\*)?`([\w/]+)/`", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    )
    rooms = {
        f"{floor}/{folder.name}"
        for floor in FLOORS
        for folder in (ROOT / floor).iterdir()
        if folder.is_dir() and any(folder.glob("[!_.]*"))
    }
    assert {name for name in listed if "/" in name} == {
        room for room in rooms if not room.endswith("__pycache__")
    }


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or something that a module defines."""
    for parts in (name, name.rpartition(".")[0]):
        try:
            spec = importlib.util.find_spec(parts)
        except ModuleNotFoundError:
            continue
        if parts == name and spec:
            return True
        if spec and spec.origin:
            tree = ast.parse(Path(spec.origin).read_text())
            names = {getattr(node, "name", None) for node in tree.body}
            names |= {
                t.id
                for n in tree.body
                if isinstance(n, ast.Assign)
                for t in n.targets
                if isinstance(t, ast.Name)
            }
            return name.rpartition(".")[2] in names
    return False
