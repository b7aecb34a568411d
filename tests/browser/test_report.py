"""The report in a real browser: no errors or requests, fits a phone, its slider works, names stay text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import polyneuron as pn
from polyneuron.eval.report import write_report
from tests.browser.chromium import Page, chromium, find_chromium
from tests.eval.report.benchmark_rows import add, usual, usual_verdicts
from tests.eval.report.method_rows import usual_methods
from tests.eval.report.synthetic import Plan, list_units, store_with
from tests.eval.report.training_rows import put_rows, steps, usual_training

BINARY = find_chromium()
pytestmark = pytest.mark.skipif(BINARY is None, reason="no chromium here: apt-get install -y chromium")
HOSTILE = "evil/<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


CONTRAST = """(() => {
  const channels = words => (words.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) {
    const found = channels(getComputedStyle(e).backgroundColor);
    if (found.length === 3) { return found; } } return [255, 255, 255]; };
  return [...document.querySelectorAll('main *, nav *')].filter(e => !(e instanceof SVGElement) && e.getClientRects().length &&
    [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())).filter(e => {
      const [a, b] = [channels(getComputedStyle(e).color), ground(e)].map(light).sort((x, y) => y - x);
      return (a + .05) / (b + .05) < 4.5; }).map(e => e.outerHTML.slice(0, 90));
})()"""
"""The elements with text of their own that stand out too little from the ground behind them."""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium(str(BINARY)) as tab:
        yield tab


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report")
    plans = (Plan(), Plan(model="tiny/model-b", seed=1))
    store = store_with(root / "store", *plans)
    for plan in plans:
        add(store, usual(plan.languages, model=plan.model), usual_verdicts(plan.languages, model=plan.model))
    usual_training(store)  # of the first model only, and so are the other methods
    usual_methods(store, plans[0])
    return write_report(list_units(store), root / "report.html")


def cell(name: str) -> str:
    return f"document.querySelector('#tiny-model-a-explorer [data-cell=\"{name}\"]').textContent"


@pytest.mark.parametrize("width, height, mobile", [(360, 780, True), (390, 844, True), (1280, 900, False)])
def test_fits_the_screen_without_errors(
    page: Page, report: Path, tmp_path: Path, width: int, height: int, mobile: bool
) -> None:
    page.problems.clear()
    page.open(report, width, height, mobile)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.problems == []
    page.screenshot(tmp_path / f"report-{width}.png", height=height)
    assert (tmp_path / f"report-{width}.png").stat().st_size > 5_000


def test_labels_of_charts_stay_inside_a_phone(page: Page, report: Path) -> None:
    page.open(report, 360, 780, mobile=True)
    outside = page.evaluate(
        "[...document.querySelectorAll('svg.chart text')].filter(t => {const b = t.getBoundingClientRect();"
        "return b.width && (b.right > 361 || b.left < -1)}).map(t => t.textContent)"
    )
    assert outside == []


def test_training_is_legible_on_a_phone(page: Page, report: Path) -> None:
    """Tables scroll inside their frames, marks are drawn, and verdicts do not rest on colour alone."""
    page.open(report, 390, 844, mobile=True)
    page.evaluate("document.querySelectorAll('details').forEach(d => {d.open = true})")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.querySelectorAll('#tiny-model-a-training').length") == 1
    assert page.evaluate("document.querySelectorAll('#tiny-model-b-training').length") == 0
    rings = "[...document.querySelectorAll('path.kept')].filter(p => getComputedStyle(p).stroke !== 'none').length"
    assert page.evaluate(rings) >= 12
    bare = (
        "[...document.querySelectorAll('.trained td.better, .trained td.worse')]"
        ".filter(cell => !/better|worse/.test(cell.textContent)).length"
    )
    assert page.evaluate(bare) == 0


def test_other_methods_are_legible_on_a_phone(page: Page, report: Path) -> None:
    """Bars are drawn, nothing overflows, and no verdict rests on colour alone."""
    page.open(report, 390, 844, mobile=True)
    page.evaluate("document.querySelectorAll('details').forEach(d => {d.open = true})")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.querySelectorAll('#tiny-model-a-methods').length") == 1
    assert page.evaluate("document.querySelectorAll('#tiny-model-b-methods').length") == 0
    drawn = (
        "[...document.querySelectorAll('path.cap')].filter(p => getComputedStyle(p).stroke !== 'none').length"
    )
    assert page.evaluate(drawn) > 10
    bare = (
        "[...document.querySelectorAll('.methods td.above, .methods td.below')]"
        ".filter(cell => !/above|below/.test(cell.textContent)).length"
    )
    assert page.evaluate("document.querySelectorAll('.methods td.above').length") > 10
    assert page.evaluate(bare) == 0
    outside = (
        "[...document.querySelectorAll('svg.chart text')].filter(t => {const b = t.getBoundingClientRect();"
        "return b.width && (b.right > 391 || b.left < -1)}).map(t => t.textContent)"
    )
    assert page.evaluate(outside) == []


def test_keyboard_moves_the_slider_and_the_numbers_follow(page: Page, report: Path) -> None:
    page.open(report, 390, 844, mobile=True)
    before = page.evaluate(cell("all.related"))
    page.evaluate("document.querySelector('#tiny-model-a-thresholds').open = true")
    page.evaluate("document.querySelector('#tiny-model-a-slider').focus()")
    for _ in range(8):
        page.press("ArrowRight", 39)
    stricter = page.evaluate(cell("all.related"))
    assert int(stricter.replace(",", "")) < int(before.replace(",", ""))
    spoken = page.evaluate("document.querySelector('#tiny-model-a-slider').getAttribute('aria-valuetext')")
    assert "times the study’s threshold" in spoken and spoken.endswith("shared")
    assert (
        float(page.evaluate("document.querySelector('#tiny-model-a-marker').getAttribute('x1')").rstrip("%"))
        > 50
    )
    page.evaluate("document.querySelector('#tiny-model-a-explorer button').click()")
    assert page.evaluate(cell("all.related")) == before


def test_numbers_before_and_after_script_agree(page: Page, report: Path) -> None:
    """The table written in Python is what the script shows at the study's threshold."""
    static = report.read_text("utf-8")
    page.open(report, 390, 844, mobile=True)
    for kind in ("shared", "exclusive", "related", "strict"):
        assert f'data-cell="all.{kind}">{page.evaluate(cell(f"all.{kind}"))}<' in static


def test_a_language_can_be_chosen_and_the_floor_is_owned_up_to(page: Page, report: Path) -> None:
    page.open(report, 390, 844, mobile=True)
    mean = page.evaluate(cell("all.exclusive"))
    page.evaluate(
        "(s => {s.value = '3'; s.dispatchEvent(new Event('change'))})(document.querySelector('#tiny-model-a-language'))"
    )
    assert page.evaluate(cell("all.exclusive")) != mean
    hidden = "document.querySelector('#tiny-model-a-explorer .warning').hidden"
    assert page.evaluate(hidden) is True
    page.evaluate(
        "(s => {s.value = 0; s.dispatchEvent(new Event('input'))})(document.querySelector('#tiny-model-a-slider'))"
    )
    assert page.evaluate(hidden) is False


def test_a_hostile_name_is_only_text(page: Page, tmp_path: Path) -> None:
    languages = ("en", "</script><script>1")
    store = store_with(tmp_path / "store", Plan(model=HOSTILE, languages=languages, n_layers=2))
    add(store, usual(languages, model=HOSTILE, benchmark=HOSTILE), usual_verdicts(languages, model=HOSTILE))
    put_rows(store, "training", steps(HOSTILE, languages[1], [3.0, 2.0], model=HOSTILE, reason=HOSTILE))
    out = write_report(list_units(store), tmp_path / "report.html", title="A study")
    page.problems.clear()
    page.open(out, 360, 780, mobile=True)
    assert page.evaluate("document.title") == "A study"
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert HOSTILE in page.evaluate("document.body.textContent")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.problems == []


def test_it_prints_with_its_parts_open_and_folds_them_again(page: Page, report: Path, tmp_path: Path) -> None:
    page.open(report, 1280, 900)
    n_open = "document.querySelectorAll('details[open]').length"
    before, n = page.evaluate(n_open), page.evaluate("document.querySelectorAll('details').length")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(n_open) == n > before
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(n_open) == before
    page.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_a_link_opens_the_part_that_it_leads_to(page: Page, report: Path) -> None:
    page.open(report, 390, 844, mobile=True)
    is_open = "document.querySelector('#tiny-model-a-training').open"
    assert page.evaluate(is_open) is False
    page.evaluate("document.querySelector('.toc a[href=\"#tiny-model-a-training\"]').click()")
    page.wait_for(is_open)
    assert (
        abs(page.evaluate("document.querySelector('#tiny-model-a-training').getBoundingClientRect().top"))
        < 100
    )


def test_a_place_of_the_map_lists_its_neurons(page: Page, report: Path) -> None:
    """A click on the busiest place gives as many rows as Python counted there, and a search finds one neuron alone."""
    page.open(report, 1280, 900)
    root = "document.querySelector('#tiny-model-a-neurons')"
    page.evaluate(f"{root}.querySelector('figure[data-set=\"1\"] button').click()")
    rows = f"{root}.querySelectorAll('.list tbody tr').length"
    size = int(
        page.evaluate(f"{root}.querySelector('figure[data-set=\"1\"] figcaption').lastChild.textContent")
    )
    assert page.evaluate(rows) == size > 0
    page.evaluate(
        f"(map => {{const box = map.getBoundingClientRect(); map.dispatchEvent(new MouseEvent('click', "
        f"{{clientX: box.left + 1, clientY: box.bottom - 2}}))}})({root}.querySelector('figure[data-set=\"1\"] svg.place'))"
    )
    chosen = f"[...{root}.querySelectorAll('.list tbody tr')].every(row => /^L0\\.ffn\\./.test(row.cells[0].textContent))"
    assert 0 < page.evaluate(rows) < size and page.evaluate(chosen) is True
    name = page.evaluate(f"{root}.querySelector('.list tbody th').textContent")
    for choice, value in (("set", ""), ("layer", ""), ("group", ""), ("text", name)):
        field = f"{root}.querySelector('[data-choose={choice}]')"
        page.evaluate(f"{field}.value = '{value}', {field}.dispatchEvent(new Event('input'))")
    found = page.evaluate(f"[...{root}.querySelectorAll('.list tbody th')].map(cell => cell.textContent)")
    assert name in found and all(each.startswith(name) for each in found)


def test_the_list_is_copied_as_python_that_runs_and_as_csv(page: Page, report: Path) -> None:
    page.open(report, 1280, 900)
    root = "document.querySelector('#tiny-model-a-neurons')"
    page.evaluate("window.polyneuronCopy = (button, text) => {window.copied = text}")
    page.evaluate(f"{root}.querySelector('figure[data-set=\"0\"] button').click()")
    rows = page.evaluate(
        f"[...{root}.querySelectorAll('.list tbody tr')].map(row => [1, 2, 3].map(i => row.cells[i].textContent))"
    )
    page.evaluate(f"{root}.querySelector('[data-do=python]').click()")
    names: dict[str, pn.NeuronSet] = {}
    exec(page.evaluate("window.copied"), {}, names)
    wanted = {(int(layer), group, int(index)) for layer, group, index in rows}
    assert set(names["neurons"]) == wanted and names["neurons"].model == "tiny/model-a" and len(wanted) > 3
    page.evaluate(f"{root}.querySelector('[data-do=csv]').click()")
    head, *lines = page.evaluate("window.copied").splitlines()
    assert head == "layer,group,neuron,languages"
    assert [line.split(",")[:3] for line in lines] == rows


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_of_the_page_has_contrast_enough_and_is_large_enough(
    page: Page, report: Path, scheme: str
) -> None:
    """WCAG's 4.5 to 1 on the body's ground for all classes of text, and 13 pixels for all words, of charts as well."""
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.open(report, 1280, 900)
    page.evaluate("document.querySelectorAll('details').forEach(d => {d.open = true})")
    small = page.evaluate(
        "[...document.querySelectorAll('main *, nav *')].filter(e => "
        "[...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())"
        " && e.getClientRects().length && parseFloat(getComputedStyle(e).fontSize) < 13).map(e => e.outerHTML.slice(0, 90))"
    )
    assert small == []
    pale = page.evaluate(CONTRAST)
    page.call("Emulation.setEmulatedMedia", features=[])
    assert pale == []
