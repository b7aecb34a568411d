"""Pages whose every word is kept under `golden/` beside the test. `WRITE_GOLDEN=1 pytest ...` writes them anew; read the diff."""

import os
import re
from pathlib import Path


def assert_golden(page: str, path: Path) -> None:
    """Asserts that a page is the kept one; style sheets and scripts, and their hashes, are left out."""
    page = re.sub(r"(<(style|script)>).*?(</\2>)", r"\1\3", page, flags=re.DOTALL)
    page = re.sub(r"'sha256-[^']+'", "'sha256-…'", page)
    if os.environ.get("WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(page, encoding="utf-8")
    assert page == path.read_text(encoding="utf-8")
