"""Run in a process of its own: studies of a hub's model and of a folder with the same files, pushed, then pulled."""

import os
import shutil
import sys
from pathlib import Path

root, url = Path(sys.argv[1]), sys.argv[2]
os.environ |= {
    "HF_ENDPOINT": url,
    "HF_TOKEN": sys.argv[3],
    "HF_HOME": str(root / "hf"),
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_OFFLINE": "0",
    "TRANSFORMERS_OFFLINE": "0",
}

from huggingface_hub import HfApi  # noqa: E402

from polyneuron.eval.store.store import Store  # noqa: E402
from polyneuron.neuron_core.common.errors import PolyneuronError  # noqa: E402
from polyneuron.pipelines.config.study import ModelConfig  # noqa: E402
from polyneuron.pipelines.run.record import Run  # noqa: E402
from polyneuron.pipelines.sharing.pull import pull  # noqa: E402
from polyneuron.pipelines.sharing.push import push  # noqa: E402
from tests.own_process import print_found  # noqa: E402
from tests.pipelines.in_process import TinyStudy, tiny_config  # noqa: E402


def shared(model: str, files: Path, repo: str) -> None:
    """Detects in a model whose files are also in the folder `files`, and pushes the sets."""
    store = root / repo.replace("/", "-")
    config = tiny_config(Path(model), store, selection={"target_shared": 0.02})
    run = Run(Store(store), config)
    with TinyStudy(config, files, run.id) as study:
        study.do("corpora", "detection")
    run.record("finished")
    push(HfApi(), str(store), repo, parts=["sets"])


def pulled(repo: str, model: str) -> str:
    """What is said to a pull with this model."""
    try:
        pull(HfApi(), repo, root / "out", model=ModelConfig(path=model))
    except PolyneuronError as error:
        return error.message
    shutil.rmtree(root / "out")
    return "accepted"


def changed_copies(folder: Path) -> list[Path]:
    """Copies of the model with one byte of one deciding file changed, in a digit where the file is text."""
    copies = []
    for name, before, after in (
        ("model.safetensors", None, None),
        ("config.json", '"rope_theta": 10000.0', '"rope_theta": 20000.0'),
        ("tokenizer.json", '"id": 0', '"id":  0'),
    ):
        copy = root / f"changed-{name}"
        shutil.copytree(folder, copy)
        content = bytearray((copy / name).read_bytes())
        if before is None or after is None:
            content[-4] ^= 1
        else:
            assert before.encode() in content, (name, content[:2000])
            content = content.replace(before.encode(), after.encode(), 1)
        (copy / name).write_bytes(content)
        copies.append(copy)
    return copies


def main() -> None:
    """Prints what each pull is told."""
    folder = root / "tiny"
    copy = shutil.copytree(folder, root / "elsewhere" / "copy")
    (copy / "README.md").write_text("Decides nothing.")
    shared("org/tiny", folder, "lab/of-hub")
    shared(str(folder), folder, "lab/of-folder")
    models = ["org/tiny", str(copy), *map(str, changed_copies(folder)), "org/other"]
    print_found({repo: {m: pulled(repo, m) for m in models} for repo in ("lab/of-hub", "lab/of-folder")})


if __name__ == "__main__":
    main()
