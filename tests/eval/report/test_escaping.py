"""Text from outside stays text: names, corpora, configurations, errors and JSON of a store that somebody else filled change what
a report says, never what it is made of. Checked on the tree that an HTML parser makes of the page."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import lxml.html
import pyarrow as pa
import pytest

from polyneuron.eval.nightly.judge import Judgement
from polyneuron.eval.nightly.render import html as nightly_html
from polyneuron.eval.nightly.render import junit
from polyneuron.eval.report.numbers.study import read_report
from polyneuron.eval.report.page import render
from polyneuron.eval.store.store import Store
from polyneuron.pipelines.config.study import NightlyConfig
from polyneuron.pipelines.nights.judging import _unjudged
from tests.eval.report.benchmark_rows import add, unavailable, usual, usual_verdicts
from tests.eval.report.method_rows import usual_methods
from tests.eval.report.neuron_rows import put_pages
from tests.eval.report.synthetic import Plan, list_units, store_with, studied
from tests.eval.report.training_rows import usual_training

HARMLESS = " plain"
HOSTILE = [
    "<script>alert(1)</script></script></style></title></svg><img src=x onerror=alert(1)>]]><!--><svg/onload=alert(1)>--!>",
    '" onmouseover="alert(1)" x=\'\' onfocus=\'alert(1)\' {{ 7 * 7 }}{% raw %}<a href="javascript:alert(1)">\u202e&lt;i&gt;\x0b',
]
FREE_TEXT = (
    "source",
    "revision",
    "sha",
    "null_reason",
    "reason",
    "command",
    "status",
    "dataset",
    "task_version",
    "test",
    "text",
)
JSON_COLUMNS = ("config_json", "versions_json", "hardware_json", "seeds_json", "dropped_json", "doubts_json")


class Tainted:
    """A store whose free text, and whose JSON's keys and strings, end in `text`."""

    def __init__(self, store: Store, text: str) -> None:
        self._store, self._text = store, text

    def read(self, table: str, *arguments: Any, **named: Any) -> pa.Table:
        rows = self._store.read(table, *arguments, **named)
        for column in rows.column_names:
            if column in FREE_TEXT or column in JSON_COLUMNS:
                change = self._json if column in JSON_COLUMNS else self._words
                values = [None if value is None else change(value) for value in rows[column].to_pylist()]
                rows = rows.set_column(rows.column_names.index(column), column, pa.array(values, pa.string()))
        return rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _words(self, value: str) -> str:
        return value + self._text

    def _json(self, value: str) -> str:
        def taint(node: Any) -> Any:
            if isinstance(node, dict):
                return {k if k == "models" else k + self._text: taint(v) for k, v in node.items()}
            if isinstance(node, list):
                return [taint(part) for part in node]
            return node + self._text if isinstance(node, str) else node

        return json.dumps(taint(json.loads(value)))


def pages_with(folder: Path, text: str) -> list[str]:
    """The reports of one model with all sections and of two side by side; `text` ends every name and free text."""
    languages = ("en", f"sw{text}", f"th{text}")
    first, second = (Plan(model=f"m{i}{text}", languages=languages, n_layers=2, seed=i) for i in (0, 1))
    alone, both = store_with(folder / "alone", first), store_with(folder / "both", first, second)
    usual_training(alone, first.model, languages[1:])
    usual_methods(alone, first)
    put_pages(alone, first)
    add(alone, [unavailable("base", languages[1], f"why{text}", model=first.model, benchmark="xnli")])
    for plan in (first, second):
        named = {"model": plan.model, "benchmark": "xnli"}
        add(both, usual(("en",), **named), usual_verdicts(("en",), **named), mark=plan.model)
    reports = [read_report(Tainted(list_units(store), text)) for store in (alone, both)]
    return [render(report, f"title{text}") for report in reports]


def structure(page: str) -> Counter[tuple[str, ...]]:
    """How often each element with its attributes' names stands in the page; comments count as elements."""
    tree = lxml.html.document_fromstring(page)
    return Counter((str(node.tag), *sorted(node.attrib)) for node in tree.iter())


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return pages_with(tmp_path_factory.mktemp("harmless"), HARMLESS)


@pytest.mark.parametrize("text", HOSTILE)
def test_reports_are_made_of_the_same_elements_whatever_their_texts_are(
    text: str, harmless: list[str], tmp_path: Path
) -> None:
    pages = pages_with(tmp_path, text)
    for page, plain in zip(pages, harmless, strict=True):
        assert plain.count(HARMLESS) > 100
        found = structure(page)
        assert found == structure(plain)
        assert not [name for node in found for name in node[1:] if name.startswith("on")]
    shown = lxml.html.document_fromstring(pages[0]).text_content()
    for name in ("title", "m0", "sw", "embedded"):
        assert f"{name}{text}"[:100] in shown, name


def test_links_lead_nowhere_but_into_the_page(harmless: list[str]) -> None:
    for page in harmless:
        tree = lxml.html.document_fromstring(page)
        links = [
            value for node in tree.iter() for name, value in node.attrib.items() if name in ("href", "src")
        ]
        assert links and all(link.startswith("#") or link == "data:," for link in links)
        (policy,) = tree.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
        assert "default-src 'none'" in policy and "unsafe" not in policy


@pytest.mark.parametrize("text", HOSTILE)
def test_a_nights_summary_keeps_errors_as_text(text: str) -> None:
    def nights(text: str) -> list[Judgement]:
        name = f"m{text}"
        config = NightlyConfig.model_validate(
            {
                "models": [{"path": "m"}],
                "languages": ["en"],
                "night": "n",
                "evaluation": {"benchmarks": [{"name": "xnli"}]},
            }
        )
        why = _unjudged(name, config, "last-good", f"broke{text}")
        return [
            Judgement(
                model=name,
                night=f"n{text}",
                baseline_night=f"b{text}",
                alpha=0.05,
                min_effect=0.0,
                verdicts=(why,),
            )
        ]

    assert structure(nightly_html(nights(text))) == structure(nightly_html(nights(HARMLESS)))
    cases = lxml.etree.fromstring(junit(nights(text)).encode())
    assert [str(node.tag) for node in cases.iter()] == [
        str(node.tag) for node in lxml.etree.fromstring(junit(nights(HARMLESS)).encode()).iter()
    ]


def test_code_that_came_with_a_model_is_named(tmp_path: Path) -> None:
    store = store_with(tmp_path, Plan(n_layers=2))
    row = store.read("runs").to_pylist()[0]
    trusted = {
        "models": [
            {"name": "foreign", "trust_remote_code": True},
            {"path": "own", "trust_remote_code": False},
        ]
    }
    store.write("runs", pa.Table.from_pylist([row | {"config_json": json.dumps(trusted)}]), row["unit"])
    page = lxml.html.document_fromstring(render(studied(store), "t"))
    (warning,) = [node.text_content() for node in page.find_class("warning") if "code" in node.text_content()]
    assert "foreign" in warning and "own" not in warning
