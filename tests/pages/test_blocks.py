"""Every code block of README, CONTRIBUTING and docs does here what its page says; `stand_ins` says how, and what is not run."""

import re

import pytest

from tests import reference
from tests.pages.blocks import PAGES, ROOT, blocks_of, commands_of
from tests.pages.stand_ins import NOT_RUN, OUTPUTS, STAND_INS
from tests.pages.visitor import Visitor

MADE = {f"docs/{page}" for page in reference.PAGES}
"""Pages that are made from the code, and compared with it in tests/test_docs.py."""
WITH_BLOCKS = [page for page in PAGES if page not in MADE and blocks_of(page)]


@pytest.mark.parametrize("page", WITH_BLOCKS)
def test_its_blocks_run_in_order(page: str, visitor: Visitor) -> None:
    for block in blocks_of(page):
        visitor.take(block)
    assert visitor.n_outputs == len(OUTPUTS.get(page, ()))


def test_what_is_made_from_the_code_shows_commands_alone() -> None:
    assert {block.language for page in MADE for block in blocks_of(page)} <= {"console"}


def test_stand_ins_and_exceptions_are_needed() -> None:
    blocks = [block for page in WITH_BLOCKS for block in blocks_of(page)]
    text = "\n".join(block.text for block in blocks)
    first = {words[0] for block in blocks if block.language == "sh" for words in commands_of(block.text)}
    assert [pattern for pattern in STAND_INS if not re.search(pattern, text)] == []
    assert set(NOT_RUN) == first - {"polyneuron"}
    assert set(OUTPUTS) <= set(PAGES)


def test_pages_of_all_folders_are_read() -> None:
    assert {"README.md", "docs/store.md", "docs/decisions/0004-libraries.md"} <= set(PAGES)
    assert all((ROOT / page).exists() for page in PAGES)
