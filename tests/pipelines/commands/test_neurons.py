"""`polyneuron neurons`: the list of a set beside one that is made row by row, and messages for names that do not exist."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from polyneuron.eval.store.store import Store
from polyneuron.pipelines import cli
from tests.eval.report.synthetic import Plan, list_units, store_with

LANGUAGES = ("en", "sw", "th")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return list_units(store_with(tmp_path_factory.mktemp("stores") / "store", Plan(languages=LANGUAGES)))


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The exit code, and what is printed to standard output and to standard error."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        cli.main(["neurons", *arguments])
    said = capsys.readouterr()
    return left.value.code or 0, said.out, said.err  # type: ignore[return-value]


def expected(store: Store, name: str) -> list[dict[str, Any]]:
    """The list as loops over all rows give it."""
    place = ("layer", "group", "neuron")
    members: dict[tuple[Any, ...], set[str]] = {}
    own_language = None
    for row in store.read("neuron_sets").to_pylist():
        members.setdefault(tuple(row[part] for part in place), set()).add(row["variant"])
        own_language = row["language"] if row["variant"] == name else own_language
    impacts = store.read("impacts").to_pylist()
    of = {(row["language"], *(row[part] for part in place)): row for row in impacts}
    ranked_in = LANGUAGES if own_language is None else (own_language,)
    found = []
    for neuron, sets in members.items():
        if name not in sets:
            continue
        own = {code: of[code, *neuron] for code in LANGUAGES}
        larger = {
            code: sum(
                other["impact_rms_min"] > own[code]["impact_rms_min"]
                for other in impacts
                if (other["language"], other["group"]) == (code, neuron[1])
            )
            for code in ranked_in
        }
        values = {f"impact_{c}": None if r["bounded"] else r["impact_rms_min"] for c, r in own.items()}
        parts = dict(zip(place, neuron, strict=True))
        called = f"L{parts['layer']}.{parts['group']}.{parts['neuron']}"
        rank = None if any(own[code]["bounded"] for code in ranked_in) else 1 + max(larger.values())
        found.append({"name": called, **parts, "rank": rank, **values, "sets": sorted(sets)})
    last = max(len(impacts), 1)
    return sorted(found, key=lambda row: (row["rank"] or last, *(row[part] for part in place)))


@pytest.mark.parametrize("name", ["shared", "exclusive-th", "related-sw"])
def test_a_list_is_that_of_loops_over_all_rows(
    store: Store, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code, printed, _ = asked(
        capsys, "--store", str(store.root), "--set", name, "--format", "json", "--top", "999"
    )
    wanted = expected(store, name)
    assert code == 0 and json.loads(printed) == wanted
    assert len(wanted) > 1 and any(None in row.values() for row in expected(store, "related-sw"))


def test_the_first_of_a_list_in_formats_for_programs_and_people(
    store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first = [row["name"] for row in expected(store, "exclusive-th")][:2]
    common = ("--store", str(store.root), "--set", "exclusive-th", "--top", "2")
    assert [row["name"] for row in csv.DictReader(io.StringIO(asked(capsys, *common)[1]))] == first
    for form in ("table", "md"):
        printed = asked(capsys, *common, "--format", form)[1]
        assert all(name in printed for name in first) and printed.count("exclusive-th") == 2
    assert asked(capsys, *common, "-o", str(tmp_path / "list.json"))[0] == 0
    assert [row["name"] for row in json.loads((tmp_path / "list.json").read_text())] == first


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--set", "exclusive-xx"), ("'exclusive-xx'", "shared", "exclusive-th", "related-en")),
        (("--set", "shared", "--model", "other"), ("'other'", "tiny/model-a")),
    ],
)
def test_names_that_do_not_exist_are_answered_with_those_that_do(
    store: Store, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], names: tuple[str, ...]
) -> None:
    code, printed, said = asked(capsys, "--store", str(store.root), *arguments)
    assert (code, printed) == (2, "") and all(name in said for name in names)


def test_a_store_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, said = asked(capsys, "--store", str(tmp_path / "nowhere"), "--set", "shared")
    assert code == 2 and "There is no store in" in said
