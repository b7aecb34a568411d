"""The pages of single neurons in a real browser: opened, linked, left, searched, and texts that stay texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import polyneuron as pn
from polyneuron.eval.neurons.facts import NeuronFacts, OpenedModel, facts_of
from polyneuron.eval.neurons.listing import studied
from polyneuron.eval.report import write_report
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import ModelError
from polyneuron.neuron_core.sets.neuron_name import NeuronName
from tests.browser.chromium import Page, chromium, find_chromium
from tests.browser.test_report import CONTRAST
from tests.eval.report.neuron_rows import TEXTS, put_pages
from tests.eval.report.synthetic import Plan, list_units, store_with

BINARY = find_chromium()
pytestmark = pytest.mark.skipif(BINARY is None, reason="no chromium here: apt-get install -y chromium")
LIST = "document.querySelector('.neurons')"
FACE = "document.querySelector('.face')"
ROWS = f"[...{LIST}.querySelectorAll('.list tbody th')].map(cell => cell.textContent)"
CONTEXTS = (
    f"[...{FACE}.querySelectorAll('.contexts li')]"
    ".map(li => [li.querySelector('bdi').lang, li.querySelector('mark').textContent])"
)
TABLES = (
    f"[...{FACE}.querySelectorAll('table')]"
    ".map(table => [...table.tBodies[0].rows].map(row => [...row.cells].map(cell => cell.textContent)))"
)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium(str(BINARY)) as tab:
        yield tab


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = Plan(languages=("en", "th", "ar"))
    filled = store_with(tmp_path_factory.mktemp("store"), plan)
    put_pages(filled, plan)
    return Path(list_units(filled).root)


@pytest.fixture(scope="module")
def report(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(Store(store), tmp_path_factory.mktemp("out") / "report.html")


def facts(store: Path, name: str) -> NeuronFacts:
    def no_model() -> OpenedModel:
        raise ModelError("not here")

    return facts_of(studied(Store(store)), NeuronName.parse(name), no_model, 3)


def list_set(page: Page, report: Path, chosen: int = 1, width: int = 1280) -> list[str]:
    """Opens the report and lists a set; the names of its neurons."""
    page.open(
        report.parent / "nothing.html", width, 900
    )  # so that the address alone is no mere change of hash
    page.open(report, width, 900, mobile=width < 500)
    page.evaluate(f"{LIST}.querySelector('figure[data-set=\"{chosen}\"] button').click()")
    names: list[str] = page.evaluate(ROWS)
    return names


def go_to(page: Page, name: str) -> None:
    page.evaluate(f"location.hash = '#{name}'")
    page.wait_for(f"!{FACE}.hidden && {FACE}.querySelector('h1').textContent === '{name}'")


@pytest.mark.parametrize("group", ["ffn", "v", "q"])
def test_a_page_shows_what_the_store_says(page: Page, report: Path, store: Path, group: str) -> None:
    page.problems.clear()
    name = next(name for name in list_set(page, report) if f".{group}." in name)
    go_to(page, name)
    wanted = facts(store, name)
    code = {each.language: each for each in wanted.contexts}
    shown = page.evaluate(CONTEXTS)
    needed = sorted(("en", "th", "ar"), key=lambda language: f"related-{language}" not in wanted.sets)
    in_order = [each for language in needed for each in wanted.contexts if each.language == language]
    in_line = [each.text.token.replace("\r", "↵").replace("\n", "↵") for each in in_order]
    assert [lang for lang, _ in shown] == [each.language for each in in_order] and len(code) == 3
    assert [text for _, text in shown] == in_line
    *others, impacts = page.evaluate(TABLES)
    by_language = {row["language"]: row for row in wanted.impacts}
    assert len(impacts) == 3
    for language, row in zip(("en", "th", "ar"), impacts, strict=True):
        own = by_language[language]
        assert row[1].replace(",", "") == ("" if own["impact"] is None else f"{own['impact']:.4g}")
        assert row[3].replace(",", "") == ("" if own["rank"] is None else str(own["rank"]))
    assert len(others) == {"ffn": 2, "v": 2, "q": 0}[group]  # lens and statistics, or two directions
    if others:
        promoted = [each for each in wanted.lens if each.promoted and each.direction == 0]
        assert [float(row[1]) for row in others[0]] == pytest.approx([t.logit for t in promoted], rel=1e-2)
        assert len(others[0]) == 3
    if group == "ffn":
        medians = {row["language"]: row["p50"] for row in wanted.activations}
        assert [float(row[3].replace("−", "-")) for row in others[1]] == pytest.approx(
            [medians[language] for language in ("en", "th", "ar")], rel=1e-2
        )
    words = page.evaluate(f"{FACE}.textContent")
    assert ", ".join(wanted.sets) in words and f"exactly these sets: {wanted.n_in_same_sets}" in words
    links = page.evaluate(f"[...{FACE}.querySelectorAll('p a')].map(a => a.textContent)")
    near = [str(other) for other in wanted.neighbours]
    assert links[: len(near)] == near[:24] and len(links) == min(24, wanted.n_in_same_sets)
    assert page.problems == []


def test_a_link_of_the_list_opens_a_page_and_the_back_button_returns(page: Page, report: Path) -> None:
    name = list_set(page, report)[2]
    page.evaluate(f"{LIST}.scrollIntoView()")
    at = page.evaluate("scrollY")
    link = f"[...{LIST}.querySelectorAll('.list a')].find(a => a.textContent === '{name}')"
    page.evaluate(f"{link}.focus()")
    page.press("Enter", 13)
    page.call("Input.dispatchKeyEvent", type="char", text="\r")
    page.evaluate(
        f"location.hash || {link}.click()"
    )  # where the browser wants more than two events for a press
    page.wait_for(f"!{FACE}.hidden")
    assert page.evaluate("location.hash") == f"#{name}"
    assert page.evaluate("document.title") == f"{name} · Polyneuron study"
    assert page.evaluate("document.activeElement.textContent") == name and page.evaluate("scrollY") == 0
    assert page.evaluate(f"{LIST}.getClientRects().length") == 0
    page.evaluate("history.back()")
    page.wait_for(f"{FACE}.hidden")
    page.wait_for(f"Math.abs(scrollY - {at}) < 3")
    assert page.evaluate("document.title") == "Polyneuron study"
    assert page.evaluate("document.activeElement.textContent") == name
    page.evaluate("history.forward()")
    page.wait_for(f"!{FACE}.hidden && {FACE}.querySelector('h1').textContent === '{name}'")
    page.press("Escape", 27)
    page.wait_for(f"{FACE}.hidden")
    assert page.evaluate(f"{LIST}.getClientRects().length") == 1


def test_a_permalink_opens_its_page_at_once_and_contents_lead_out(page: Page, report: Path) -> None:
    name = list_set(page, report)[0]
    page.call("Page.navigate", url="about:blank")
    page.call("Page.navigate", url=f"{report.resolve().as_uri()}#{name}")
    page.wait_for(f"document.readyState === 'complete' && !!{FACE} && !{FACE}.hidden")
    assert page.evaluate(f"{FACE}.querySelector('h1').textContent") == name
    page.evaluate("document.querySelector('.toc a[href$=\"-perplexity\"]').click()")
    page.wait_for(f"{FACE}.hidden")
    page.wait_for(
        "Math.abs(document.querySelector('details[id$=\"-perplexity\"]').getBoundingClientRect().top) < 100"
    )
    go_to(page, name)
    neighbour = page.evaluate(f"{FACE}.querySelector('p a').textContent")
    page.evaluate(f"{FACE}.querySelector('p a').click()")
    page.wait_for(f"{FACE}.querySelector('h1').textContent === '{neighbour}'")
    page.evaluate("history.back()")
    page.wait_for(f"{FACE}.querySelector('h1').textContent === '{name}'")


def test_addresses_that_lead_nowhere_do_no_harm(page: Page, report: Path) -> None:
    page.problems.clear()
    list_set(page, report)
    go_to(page, "L0.ffn.999999")
    assert "polyneuron neuron L0.ffn.999999" in page.evaluate(f"{FACE}.textContent")
    for hash in ("%", "other:L0.ffn.1", "L0.ffn.1<img>", "%E0%A4%A"):
        page.evaluate(f"location.hash = {hash!r}")
        page.wait_for(f"{FACE}.hidden")
    assert page.problems == []


def test_hostile_texts_are_only_texts(page: Page, report: Path) -> None:
    page.problems.clear()
    names = list_set(page, report)
    kept = page.evaluate("JSON.parse(document.querySelector('script[data-pages]').textContent).texts")
    assert sorted(kept) == sorted(TEXTS)
    for name in names[:6]:
        go_to(page, name)
        assert page.evaluate("document.title") == f"{name} · Polyneuron study"
        assert page.evaluate(f"{FACE}.querySelectorAll('img, script, b, i').length") == 0
    assert page.problems == []


def test_a_search_finds_neurons_by_their_tokens(page: Page, report: Path, store: Path) -> None:
    list_set(page, report)
    for name, value in (("set", ""), ("text", "ש")):
        field = f"{LIST}.querySelector('[data-choose={name}]')"
        page.evaluate(f"{field}.value = '{value}', {field}.dispatchEvent(new Event('input'))")
    found = page.evaluate(ROWS)
    related = sorted(pn.open(store).all_related())
    wanted = {
        str(NeuronName(*neuron))
        for neuron in related
        if "ש" in "".join(each.text.token for each in facts(store, str(NeuronName(*neuron))).contexts)
    }
    listed = set(page.evaluate(f"{LIST}.polyneuron.all.map(each => each.name)"))
    assert listed == {str(NeuronName(*neuron)) for neuron in related}
    assert set(found) == wanted and 0 < len(wanted) < len(listed)


@pytest.mark.parametrize(
    ("width", "scheme"), [(390, "dark"), (390, "light"), (1280, "dark"), (1280, "light")]
)
def test_a_page_fits_and_stands_out(page: Page, report: Path, width: int, scheme: str) -> None:
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    name = next(name for name in list_set(page, report, width=width) if ".ffn." in name)
    go_to(page, name)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    pale = page.evaluate(CONTRAST)
    small = (
        f"[...{FACE}.querySelectorAll('*')].filter(e => parseFloat(getComputedStyle(e).fontSize) < 13).length"
    )
    assert page.evaluate(small) == 0
    page.call("Emulation.setEmulatedMedia", features=[])
    assert pale == []


def test_a_page_does_not_print(page: Page, report: Path) -> None:
    go_to(page, list_set(page, report)[0])
    page.call("Emulation.setEmulatedMedia", media="print")
    hidden, whole = (
        page.evaluate(f"{FACE}.getClientRects().length"),
        page.evaluate(f"{LIST}.getClientRects().length"),
    )
    page.call("Emulation.setEmulatedMedia", media="")
    assert (hidden, whole) == (0, 1)


def test_two_models_have_addresses_of_their_own(page: Page, tmp_path: Path) -> None:
    plans = (
        Plan(languages=("en", "th"), n_layers=2),
        Plan(model="tiny/b", languages=("en", "th"), n_layers=2, seed=1),
    )
    out = write_report(list_units(store_with(tmp_path / "store", *plans)), tmp_path / "report.html")
    page.open(out, 1280, 900)
    name = page.evaluate("document.querySelector('#tiny-b-neurons').polyneuron.all[0].name")
    go_to_hash = f"location.hash = '#tiny-b:{name}'"
    page.evaluate(go_to_hash)
    page.wait_for(f"!{FACE}.hidden")
    words = page.evaluate(f"{FACE}.textContent")
    assert "tiny/b, layer" in words and "polyneuron detect CONFIG contexts.top_tokens=5" in words
