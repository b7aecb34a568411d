"""The file itself: alone, escaped, small, repeatable, never left half, and every word of it kept in `golden/report.html`."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from polyneuron.eval.report import write_report
from polyneuron.eval.report.numbers.curves import Curves
from polyneuron.eval.report.numbers.variants import Variants
from polyneuron.eval.report.page import render
from polyneuron.neuron_core.common.errors import StoreError
from tests.eval.report.benchmark_rows import add, usual, usual_verdicts
from tests.eval.report.method_rows import usual_methods
from tests.eval.report.synthetic import Plan, list_units, store_with, studied
from tests.eval.report.training_rows import usual_training
from tests.golden import assert_golden

SMALL = Plan(languages=("en", "sw"), n_layers=2, n_sentences=4)
HOSTILE = "evil/<script>alert('model')</script>&\"x"


class Structure(HTMLParser):
    """Ids, references to them, scripts and headings of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.levels: list[int] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {k: v or "" for k, v in attrs}
        self.ids += [given["id"]] if "id" in given else []
        self.references += [given[k] for k in ("for", "aria-labelledby", "aria-controls") if k in given]
        self.references += [given["href"][1:]] if given.get("href", "").startswith("#") else []
        self.levels += [int(tag[1])] if re.fullmatch(r"h[1-6]", tag) else []
        self.scripts += tag == "script"


def parsed(page: str) -> Structure:
    structure = Structure()
    structure.feed(page)
    return structure


def assert_sound(page: str) -> None:
    """Ids are unique, references lead to them, and headings skip no level."""
    structure = parsed(page)
    assert len(structure.ids) == len(set(structure.ids))
    assert set(structure.references) <= set(structure.ids)
    assert structure.levels[0] == 1 and structure.levels.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(structure.levels, structure.levels[1:], strict=False))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = store_with(
        tmp_path_factory.mktemp("store"), Plan(), Plan(model="tiny/model-b", seed=1, strength=2.0)
    )
    return write_report(list_units(store), tmp_path_factory.mktemp("out") / "deep" / "report.html").read_text(
        "utf-8"
    )


def test_it_loads_nothing(page: str) -> None:
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    assert "@import" not in page and "url(http" not in page
    assert "default-src 'none'" in page
    assert len(page.encode()) < 1_000_000


def test_ids_are_unique_and_every_reference_lands(page: str) -> None:
    assert_sound(page)


def test_two_models_are_compared_and_one_is_not(page: str, tmp_path: Path) -> None:
    assert 'id="models"' in page
    assert 'id="models"' not in render(studied(store_with(tmp_path, SMALL)), "One")


def test_every_word_is_kept(tmp_path: Path) -> None:
    """Two small models, the first with benchmarks, training and other methods. See `tests.golden` for how to renew it."""
    plans = SMALL, dataclasses.replace(SMALL, model="tiny/model-b", seed=1)
    store = store_with(tmp_path / "store", *plans)
    for plan in plans:
        add(
            store,
            usual(plan.languages, model=plan.model),
            usual_verdicts(plan.languages, model=plan.model),
            mark=plan.model,
        )
    usual_training(store, languages=("sw",))
    usual_methods(store, SMALL)
    assert_golden(render(studied(store), "A study"), Path(__file__).parent / "golden" / "report.html")


def test_names_from_outside_are_escaped(tmp_path: Path) -> None:
    plan = Plan(model=HOSTILE, languages=("en", "</script><img src=x>"), n_layers=2)
    page = render(studied(store_with(tmp_path, plan)), "<b>title</b>")
    assert "<script>alert" not in page and "<img" not in page and "<b>title" not in page
    assert parsed(page).scripts == 5  # the neurons, their pages, the counts, the results and what reads them


def test_the_same_store_gives_the_same_bytes(tmp_path: Path) -> None:
    store = list_units(store_with(tmp_path / "store", SMALL))
    first = write_report(store, tmp_path / "a.html").read_bytes()
    assert write_report(store, tmp_path / "b.html").read_bytes() == first


def test_embedded_counts_are_the_curves(tmp_path: Path) -> None:
    report = studied(store_with(tmp_path, SMALL))
    page = render(report, "t")
    embedded = re.search(r'class="explorer".*?<script type="application/json">(.*?)</script>', page, re.S)
    curves = report.studies[0].curves
    assert embedded is not None and isinstance(curves, Curves)
    data = json.loads(embedded[1])
    assert data["shared"] == curves.shared.tolist() and data["related"] == curves.related.tolist()


def test_a_study_without_losses_or_metrics_still_has_a_report(tmp_path: Path) -> None:
    report = studied(store_with(tmp_path, SMALL))
    rows = {**report.studies[0].rows, "metrics": [], "sensitivity": []}
    bare = dataclasses.replace(report.studies[0], variants=Variants(), rows=rows, curves="why")
    page = render(dataclasses.replace(report, studies=(bare,)), "t")
    assert "polyneuron ablate" in page and "No metrics are stored" in page and "Not shown: why." in page


def test_a_target_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    store = list_units(store_with(tmp_path / "store", SMALL))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="file/report.html"):
        write_report(store, tmp_path / "file" / "report.html")
