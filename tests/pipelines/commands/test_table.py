"""`polyneuron table`: every format from the command line, and a store without a study is one message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polyneuron.eval.store.store import Store
from polyneuron.pipelines import cli
from tests.eval.report.synthetic import Plan, list_units, store_with


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("stores") / "store"
    plan = Plan(model="tiny/[bold]model", languages=("en", "sw"), n_draws=2)
    return list_units(store_with(folder, plan))


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        cli.main(["table", *arguments])
    assert left.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("form", "sign", "name"),
    [("terminal", "┏", "[bold]model"), ("md", "|", r"\[bold\]model"), ("latex", r"\toprule", "[bold]model")],
)
def test_every_format_holds_every_language(
    store: Store, capsys: pytest.CaptureFixture[str], form: str, sign: str, name: str
) -> None:
    said = printed(capsys, "--store", str(store.root), "--format", form)
    assert all(word in said for word in (sign, name, "English", "Swahili", "by chance"))


def test_json_is_what_lies_beside_the_report(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "--store", str(store.root), "--format", "json"))
    assert found["models"]["tiny/[bold]model"]["languages"] == ["en", "sw"]


def test_a_store_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["table", "--store", str(tmp_path / "nowhere")])
    said = capsys.readouterr().err
    assert (
        left.value.code == 2
        and "There is no store in" in said
        and "nowhere" in said
        and said.count("\n") == 1
    )
