"""The page of all nights: every score once, with its interval, alarms marked, and lines only where nights can be compared."""

import html
import re
from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.nightly.judge import judge
from polyneuron.eval.nightly.trend import MOST_NIGHTS, trend_page, write_trend
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import StoreError
from tests.eval.nightly.test_baseline import MODEL, write_run, write_scores
from tests.eval.nightly.test_render import EVIL, Page

RIGHT, WRONG = [1.0] * 12, [0.0] * 12


def add_night(store: Store, number: int, label: str, values: dict[str, list[float]], **changed: Any) -> None:
    """A night's run and its scores, with intervals of ten points to both sides."""
    started = f"2026-01-{number // 24 + 1:02}T{number % 24:02}:00:00+00:00"
    write_run(store, f"r{number:03}", label, changed.pop("status", "ok"), started)
    for language, items in values.items():
        value = sum(items) / len(items)
        bounds = {"value": value, "low": max(0.0, value - 0.1), "high": min(1.0, value + 0.1)}
        write_scores(store, f"r{number:03}", label, {("xnli", language): items}, **(bounds | changed))


def judged(store: Store, number: int, label: str, baseline: str) -> None:
    """The verdicts of a night, as a nightly run writes them."""
    table = judge(store, MODEL, label, baseline, ["base"], alpha=0.05, min_effect=0.01).table()
    store.write("verdicts", table, f"v{number}", {"model": MODEL}, run_id=f"r{number:03}")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three nights in two languages; in the second Swahili is lost, and the third has other settings."""
    made = Store(tmp_path / "store")
    add_night(made, 1, "mon", {"en": RIGHT, "sw": RIGHT})
    add_night(made, 2, "tue", {"en": RIGHT, "sw": WRONG}, status="regression")
    judged(made, 2, "tue", "mon")
    add_night(made, 3, "wed", {"en": RIGHT, "sw": RIGHT}, n_shots=5)
    return made


def panels(page: str) -> dict[str, str]:
    """By title, the SVG of each chart."""
    found = re.findall(r"<figure><h4>(.*?)</h4>(.*?)</figure>", page, re.DOTALL)
    return {html.unescape(title): chart for title, chart in found}


def test_every_score_is_a_mark_with_its_interval(store: Store) -> None:
    charts = panels(trend_page(store))
    assert list(charts) == ["xnli, English (acc)", "xnli, Swahili (acc)"]
    for chart in charts.values():
        assert chart.count('class="interval"') == 3
    tips = re.findall(r"<title>(.*?)</title>", charts["xnli, Swahili (acc)"])
    assert tips[0] == "mon: 100.00 (90.00 to 100.00), 12 items"
    assert tips[1] == "tue: 0.00 (0.00 to 10.00), 12 items; worse against mon"


def test_what_became_worse_is_marked_and_counted(store: Store) -> None:
    page = trend_page(store)
    charts = panels(page)
    assert charts["xnli, Swahili (acc)"].count('class="alarm"') == 1
    assert charts["xnli, English (acc)"].count('class="alarm"') == 0
    assert "3 nights; 1 score became worse, last in night tue." in page
    rows = Page(page).rows[1:]
    assert [row[:3] for row in rows] == [["wed", "ok", "2"], ["tue", "regression", "2"], ["mon", "ok", "2"]]
    assert rows[1][3:] == ["1"] and rows[0][3:] != ["1"]
    assert page.count("<small>base, xnli, Swahili (acc)</small>") == 1


def test_a_night_that_was_judged_again_shows_its_newest_verdicts(store: Store) -> None:
    write_run(store, "r009", "tue", "ok", "2026-01-09T00:00:00+00:00")
    write_scores(store, "r009", "tue", {("xnli", "sw"): RIGHT}, unit="again", value=1.0)
    judged(store, 9, "tue", "mon")
    page = trend_page(store)
    assert 'class="alarm"' not in "".join(panels(page).values()) and "no score became worse" in page


def test_a_line_joins_only_nights_that_can_be_compared(store: Store) -> None:
    (path,) = re.findall(
        r'<path d="([^"]*)" class="line-shared"', panels(trend_page(store))["xnli, English (acc)"]
    )
    assert path.count("L") == 1  # mon and tue; wed has other settings
    add_night(store, 5, "fri", {"sw": RIGHT}, n_shots=5)
    add_night(store, 6, "sat", {"en": RIGHT, "sw": RIGHT}, n_shots=5)
    english = panels(trend_page(store))["xnli, English (acc)"]
    assert english.count('class="line-shared"') == 1 and english.count('class="interval"') == 4


def test_of_many_nights_the_latest_are_shown(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for number in range(MOST_NIGHTS + 3):
        add_night(store, number, f"n{number:03}", {"en": [1.0]})
    page = trend_page(store)
    assert f"{MOST_NIGHTS + 3} nights, of which the latest {MOST_NIGHTS} are shown" in page
    (chart,) = panels(page).values()
    assert chart.count('class="interval"') == MOST_NIGHTS and "n002:" not in chart and "n003:" in chart


def test_names_stay_text_and_nothing_is_loaded(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    label = "a</title><script>alert(1)</script>&lt;\x1b"
    add_night(store, 1, label, {"<b>x</b>": [1.0]})
    page = trend_page(store)
    assert EVIL.count("script") and "<script" not in page and "\x1b" not in page and "<b>x</b>" not in page
    assert "default-src 'none'" in page and not {"script", "img", "iframe"} & set(Page(page).tags)


def test_the_page_is_written_and_a_store_without_nights_is_named(store: Store, tmp_path: Path) -> None:
    path = write_trend(store, tmp_path / "new" / "trend.html")
    assert path.read_text(encoding="utf-8") == trend_page(store)
    with pytest.raises(StoreError, match="holds no nights"):
        trend_page(Store(tmp_path / "empty"))
