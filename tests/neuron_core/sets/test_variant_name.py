"""Names of variants: the texts that stores hold, and the columns beside them."""

import subprocess
import sys
from dataclasses import replace

import pytest

from polyneuron.neuron_core.sets.variant_name import BASE, SHARED, VariantName, exclusive, strict_exclusive

TUNED = VariantName(kind="tuned", strategy="shared", language="en+sw", seed=1, names_seed=False)
TRANSFER = VariantName(
    kind="tuned", task="xnli", strategy="target", detector="lape", language="vi", seed=0, names_seed=False
)


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        (BASE, "base", ("base", None, None, None)),
        (SHARED, "shared", ("shared", None, None, None)),
        (exclusive("sw"), "exclusive-sw", ("exclusive", "sw", None, None)),
        (SHARED.control(0), "control-shared-0", ("control", None, "shared", 0)),
        (exclusive("th").control(1), "control-exclusive-th-1", ("control", "th", "exclusive-th", 1)),
        (
            strict_exclusive("sw"),
            "strict_exclusive-sw",
            ("strict_exclusive", "sw", None, None),
        ),
        (
            SHARED.control(3, "impact_control"),
            "impact-control-shared-3",
            ("impact_control", None, "shared", 3),
        ),
        (
            strict_exclusive("th").control(0, "language_control"),
            "language-control-strict_exclusive-th-0",
            ("language_control", "th", "strict_exclusive-th", 0),
        ),
        (
            VariantName(kind="detected", detector="lape", language="vi").control(2),
            "control-lape-vi-2",
            ("control", "vi", "lape-vi", 2),
        ),
        (TUNED, "tuned-shared-en+sw", ("tuned", "en+sw", None, 1)),
        (
            VariantName(kind="tuned", strategy="lora", language="sw", seed=1),
            "tuned-lora-sw-1",
            ("tuned", "sw", None, 1),
        ),
        (
            replace(TUNED, strategy="random", control_of=TUNED),
            "tuned-random-shared-en+sw",
            ("tuned", "en+sw", "tuned-shared-en+sw", 1),
        ),
        (
            VariantName(kind="tuned", task="xnli", strategy="attention", seed=0, names_seed=False),
            "xnli-attention",
            ("tuned", None, None, 0),
        ),
        (TRANSFER, "xnli-target-lape-vi", ("tuned", "vi", None, 0)),
        (
            VariantName(
                kind="tuned and intervened",
                tuned=TRANSFER,
                detector="lape",
                language="vi",
                intervention="p90-as-published",
                seed=0,
            ),
            "xnli-target-lape-vi+lape-vi-p90-as-published",
            ("tuned and intervened", "vi", None, 0),
        ),
        (VariantName(kind="edit", label="my edit"), "my edit", ("edit", None, None, None)),
    ],
)
def test_texts_and_columns(name: VariantName, text: str, columns: tuple[object, ...]) -> None:
    assert str(name) == text
    assert name.columns() == dict(
        zip(("variant", "kind", "set_language", "control_of", "seed"), (text, *columns), strict=True)
    )


def test_names_need_no_torch() -> None:
    code = "import sys, polyneuron.neuron_core.sets.variant_name; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
