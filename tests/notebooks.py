"""Runs the notebooks of docs/notebooks. `python -m tests.notebooks STORE MODEL` writes their outputs anew, of a study of SmolLM2
and its folder."""

import ast
import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"


def cells_of(notebook: Path) -> dict[str, Any]:
    """The notebook as JSON."""
    content: dict[str, Any] = json.loads(notebook.read_text("utf-8"))
    return content


def run(notebook: dict[str, Any], folder: Path) -> None:
    """Runs all cells in order, in `folder`, and puts what they print and show into the notebook, as Jupyter would."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    with contextlib.chdir(folder):
        for count, cell in enumerate(code, start=1):
            cell |= {"execution_count": count, "outputs": _outputs("".join(cell["source"]), namespace, count)}


def _outputs(source: str, namespace: dict[str, Any], count: int) -> list[dict[str, Any]]:
    tree, printed = ast.parse(source), io.StringIO()
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    shown = None
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        exec(compile(tree, "cell", "exec"), namespace)
        if isinstance(last, ast.Expr):
            shown = eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        text = printed.getvalue().splitlines(keepends=True)
        outputs.append({"name": "stdout", "output_type": "stream", "text": text})
    if shown is not None:
        data = {"text/plain": repr(shown).splitlines(keepends=True)}
        if hasattr(shown, "_repr_html_"):
            data["text/html"] = shown._repr_html_().splitlines(keepends=True)
        outputs.append(
            {"data": data, "execution_count": count, "metadata": {}, "output_type": "execute_result"}
        )
    return outputs


if __name__ == "__main__":
    store, os.environ["POLYNEURON_MODEL"] = map(os.path.abspath, sys.argv[1:3])
    names = sys.argv[3:] or sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    for path in (FOLDER / f"{name}.ipynb" for name in names):
        content = cells_of(path)
        with tempfile.TemporaryDirectory() as place:
            Path(place, "stores").mkdir()
            Path(place, "stores", "smollm2").symlink_to(store)
            run(content, Path(place))
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
