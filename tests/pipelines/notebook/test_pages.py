"""The Python on the pages runs as it stands there, on a tiny model and a tiny study in place of real ones."""

import re
from pathlib import Path
from typing import Any

import pytest

from polyneuron.neuron_core.corpora.embedded_corpus import embedded
from tests.test_docs import FENCE, ROOT

TEXTS = {code: embedded()[code] for code in ("en", "sw")}
KNOWN: dict[str, Any] = {
    "english": TEXTS["en"][:60],
    "swahili": TEXTS["sw"][:60],
    "held_out_swahili": TEXTS["sw"][160:164],
}
"""What a page leaves to its reader, by name."""


@pytest.mark.parametrize("page", ["README.md", "docs/notebook.md"])
def test_its_blocks_run_in_order(
    page: str, model: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = [
        source for language, source in FENCE.findall((ROOT / page).read_text("utf-8")) if language == "python"
    ]
    assert blocks
    monkeypatch.chdir(tmp_path)
    namespace = dict(KNOWN)
    for block in blocks:
        block = re.sub(r'"(path/or/hub-id|HuggingFaceTB/[\w-]+)"', repr(str(model)), block)
        block = block.replace('"stores/smollm2"', repr(str(store))).replace('"certified"', '"full"')
        # so small a model's thresholds lie below the floor of pruned detection
        block = block.replace("tokenizer, windows)", 'tokenizer, windows, mode="full")')
        exec(compile(block, page, "exec"), namespace)
