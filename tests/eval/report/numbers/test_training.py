"""Trained variants as they are read from a real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyneuron.eval.report.numbers.study import ShownStudy
from polyneuron.eval.report.numbers.training import arms_of, twin_of
from polyneuron.eval.store.store import Store
from tests.eval.report.synthetic import Plan, store_with, studied
from tests.eval.report.training_rows import checks, put_mixture, put_rows, steps

PLAN = Plan(languages=("en", "sw", "th"), n_layers=2, n_draws=0, n_sentences=4)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with(tmp_path / "store", PLAN)


def study_of(store: Store) -> ShownStudy:
    return studied(store).studies[0]


def test_a_variant_is_its_steps(store: Store) -> None:
    put_rows(store, "training", list(reversed(steps("shared", "sw", [3.0, 2.5, 2.0]))))
    rows = checks("tuned-shared-sw", "sw", {0: 3.0, 3: 2.0}, kept=3) + checks(
        "tuned-shared-sw", "en", {0: 2.5, 3: 2.75}, kept=3
    )
    put_rows(store, "validations", rows)
    (training,) = study_of(store).trainings
    assert (training.n_steps, training.n_tokens, training.losses.tolist()) == (3, 300, [3.0, 2.5, 2.0])
    assert (training.languages, training.scope, training.kept, training.corpora) == (("sw",), "", 3, ())
    assert training.validations["en"].nats == pytest.approx([2.5, 2.75])  # 125 and 137.5 nats over 50 tokens
    assert (
        training.validations["en"].at(3) == pytest.approx(2.75) and training.validations["en"].at(1) is None
    )


def test_languages_trained_together_share_a_variant(store: Store) -> None:
    put_rows(store, "training", steps("shared", "th+sw", [3.0]) + steps("shared", "sw", [3.0]))
    put_rows(store, "training", steps("random-shared", "th+sw", [3.0]))
    trainings = study_of(store).trainings
    assert [training.name for training in trainings] == [
        "tuned-shared-sw",
        "tuned-shared-th+sw",
        "tuned-random-shared-th+sw",
    ]
    alone, together, random = (arms[0] for arms in arms_of(trainings))
    assert [list(arm) for arm in (alone, together, random)] == [["sw"], ["th", "sw"], ["th", "sw"]]
    assert (alone["sw"].scope, together["sw"].scope) == ("", "th+sw")
    assert twin_of(trainings, together["th"]) is random["th"]
    assert twin_of(trainings, alone["sw"]) is None  # random neurons were trained for both languages only


def test_a_twin_has_the_same_seed(store: Store) -> None:
    rows = [r for seed in (0, 1) for s in ("shared", "random-shared") for r in steps(s, "sw", [3.0], seed)]
    put_rows(store, "training", rows)
    trainings = study_of(store).trainings
    shared, random = arms_of(trainings)
    assert list(shared) == [0, 1]
    assert twin_of(trainings, shared[1]["sw"]) is random[1]["sw"]
    assert twin_of(trainings, random[0]["sw"]) is None


def test_each_set_has_the_twin_of_its_own_size(store: Store) -> None:
    names = ("exclusive", "random-exclusive", "shared", "random-related", "random-shared")
    put_rows(store, "training", [row for name in names for row in steps(name, "sw", [3.0])])
    trainings = study_of(store).trainings
    labels = ["shared", "exclusive", "random as shared", "random as exclusive", "random as related"]
    assert [training.label for training in trainings] == labels
    assert [next(iter(arm[0].values())).label for arm in arms_of(trainings)] == labels
    shared, exclusive, as_shared, as_exclusive, as_related = trainings
    assert (twin_of(trainings, shared), twin_of(trainings, exclusive)) == (as_shared, as_exclusive)
    assert twin_of(trainings, as_related) is None


def test_validation_of_another_training_of_the_name_is_left_out(store: Store) -> None:
    put_rows(store, "validations", checks("tuned-shared-sw", "sw", {0: 3.0, 4: 1.5}, kept=4), mark="other")
    put_rows(store, "training", steps("shared", "sw", [4.0, 3.5]))
    (training,) = study_of(store).trainings
    assert training.losses.tolist() == [4.0, 3.5] and training.validations == {}


@pytest.mark.parametrize(
    ("mixture", "corpora"),
    [("embedded", ("embedded",)), ({"a/b": 0.5, "embedded": 0.5}, ("a/b", "embedded"))],
)
def test_the_mixture_is_of_the_run_that_trained(
    store: Store, mixture: object, corpora: tuple[str, ...]
) -> None:
    put_mixture(store, mixture)
    put_rows(store, "training", steps("shared", "sw", [3.0]), run_id="run-0002")
    put_rows(store, "training", steps("random-shared", "sw", [3.0]))
    shared, random = study_of(store).trainings
    assert shared.corpora == corpora and random.corpora == ()


def test_without_training_nothing_is_trained(store: Store) -> None:
    assert study_of(store).trainings == ()
