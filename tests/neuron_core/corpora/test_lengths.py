"""When lengths differ so much that it matters."""

import pytest

from polyneuron.neuron_core.corpora.lengths import unequal_lengths


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
    assert unequal_lengths(tokens) == ends
