"""The code blocks of a page, and the commands of a shell block."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_DOCS = sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))
PAGES = ["README.md", "CONTRIBUTING.md", *_DOCS]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ANY_FENCE = re.compile(r"^\s*(?:```|~~~)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block: its page, the line of its fence, its language ("" where none is named) and its text."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page, in order. Raises AssertionError for a fence that is no plain pair of three ticks."""
    text = (ROOT / page).read_text("utf-8")
    blocks = [
        Block(page, text[: found.start()].count("\n") + 1, found[1], found[2])
        for found in _FENCE.finditer(text)
    ]
    assert len(_ANY_FENCE.findall(text)) == 2 * len(blocks), f"{page}: a fence that is not understood"
    return blocks


def commands_of(shell: str) -> list[list[str]]:
    """The words of each command of a shell block; `a|b` after a program stands for a command with each."""
    commands = []
    for line in shell.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while len(words) > 1 and re.fullmatch(r"[A-Z_]+=[^$]*", words[0]):
            words = words[1:]  # a variable for this command alone
        alternatives = words[1].split("|") if len(words) > 1 and words[0] == "polyneuron" else []
        if len(alternatives) > 1:
            commands += [[words[0], name, *words[2:]] for name in alternatives]
        elif words:
            commands.append(words)
    return commands
