"""Samples that cannot be what their codes say are refused or doubted, with counts."""

from collections.abc import Sequence
from hashlib import sha256

import pytest

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.corpora.contents import check_contents
from polyneuron.neuron_core.corpora.embedded_corpus import embedded
from polyneuron.neuron_core.corpora.sampling import CorpusSample


def _sample(code: str, detection: Sequence[str], heldout: Sequence[str] = ()) -> CorpusSample:
    return CorpusSample(
        language=code,
        detection=tuple(detection),
        heldout=tuple(heldout),
        n_read=len(detection) + len(heldout),
        dropped={},
        sha=sha256("\n".join([*detection, *heldout]).encode()).hexdigest(),
        source=f"{code}.txt",
        revision=None,
    )


def _rows(code: str, first: int, last: int) -> list[str]:
    return list(embedded()[code][first:last])


def test_the_embedded_languages_are_in_no_doubt() -> None:
    assert (
        check_contents([_sample(code, _rows(code, 0, 60), _rows(code, 60, 90)) for code in embedded()]) == []
    )


@pytest.mark.parametrize("code", ["swh_Latn", "swh", "sw-KE", "xyz", "english", "ceb"])
def test_long_codes_are_known_and_unknown_ones_are_not_doubted(code: str) -> None:
    assert check_contents([_sample(code, _rows("sw", 0, 40))]) == []


@pytest.mark.parametrize("n_own", [0, 10, 20])
def test_largely_equal_samples_are_refused(n_own: int) -> None:
    a = _sample("en", _rows("en", 0, 40))
    b = _sample("sw", _rows("en", 0, 40 - n_own) + _rows("sw", 0, n_own))
    with pytest.raises(CorpusError, match=rf"'en' and 'sw' have {40 - n_own} of 40"):
        check_contents([a, b])


def test_shared_sentences_are_counted_with_those_between_detection_and_heldout() -> None:
    a = _sample("en", _rows("en", 0, 30), _rows("en", 30, 40))
    b = _sample("fr", [*_rows("fr", 0, 28), *_rows("en", 0, 2)], [*_rows("fr", 28, 37), *_rows("en", 2, 5)])
    [(code, doubt)] = check_contents([a, b])
    assert code == "fr" and "5 of 40" in doubt and "; 3 of them" in doubt


@pytest.mark.parametrize(
    ("code", "n_own", "doubted"), [("sw", 30, False), ("sw", 15, True), ("fr", 0, True), ("de_DE", 0, True)]
)
def test_sentences_in_another_language_are_doubted(code: str, n_own: int, doubted: bool) -> None:
    own = _rows(code[:2], 0, n_own)
    doubts = check_contents([_sample(code, own + _rows("en", n_own, 40))])
    assert [found for found, _ in doubts] == [code] * doubted
    assert not doubted or (f"only {n_own} look" in doubts[0][1] and f"{40 - n_own} en" in doubts[0][1])
