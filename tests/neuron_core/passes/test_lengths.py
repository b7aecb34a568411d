"""When languages are read so differently that it matters."""

import pytest

from polyneuron.neuron_core.passes.batches import Sentence
from polyneuron.neuron_core.passes.lengths import unequal, unequal_reading


@pytest.mark.parametrize(
    ("tokens", "ends"),
    [
        ({"en": 16.0, "th": 32.0, "de": 20.0}, ("en", "th")),
        ({"en": 30.0, "th": 32.0}, None),
        ({"th": 33.1, "en": 30.0}, ("en", "th")),
        ({"en": 30.0}, None),
        ({}, None),
    ],
)
def test_the_ends_are_named(tokens: dict[str, float], ends: tuple[str, str] | None) -> None:
    assert unequal(tokens) == ends


def _read(language: str, lengths: list[int]) -> list[Sentence]:
    return [Sentence(language, i, tuple(range(n + 1)), 1) for i, n in enumerate(lengths)]


@pytest.mark.parametrize(
    ("english", "thai", "named"),
    [
        ([8, 8], [8, 8], []),
        ([8, 8], [9, 8], []),
        ([8, 8], [16, 16], ["en 8.0", "th 16.0"]),
        ([8, 8], [8, 8, 8], ["en 2", "th 3"]),
        ([8, 8], [16, 16, 16], ["en 8.0", "th 16.0", "en 2", "th 3"]),
        ([8, 8], [], []),
    ],
)
def test_longer_and_fewer_sentences_are_named(english: list[int], thai: list[int], named: list[str]) -> None:
    doubt = unequal_reading({"en": _read("en", english), "th": _read("th", thai)})
    assert (doubt is None) == (not named)
    assert all(each in (doubt or "") for each in named)
