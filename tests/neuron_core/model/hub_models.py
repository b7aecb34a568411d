"""Run in a process of its own, offline: models that lie in the hub's cache, whole and with one thing wrong."""

import json
import os
import shutil
import sys
from pathlib import Path

root = Path(sys.argv[1])
os.environ |= {"HF_HOME": str(root / "hf"), "HF_HUB_CACHE": str(root / "hub"), "HF_HUB_OFFLINE": "1"}

import polyneuron as pn  # noqa: E402
from polyneuron.neuron_core.common.errors import PolyneuronError  # noqa: E402
from polyneuron.neuron_core.model.identity import require_fingerprint  # noqa: E402
from polyneuron.neuron_core.model.stored_model import StoredModel  # noqa: E402
from polyneuron.pipelines.config.study import ModelConfig  # noqa: E402
from polyneuron.pipelines.run.studied_model import StudiedModel  # noqa: E402
from tests.own_process import print_found  # noqa: E402
from tests.tiny_models import save_tiny_model, tiny_model  # noqa: E402

SHA = "a" * 40
DOORS = {
    "load_model": pn.load_model,
    "streamed": lambda name: StoredModel(name, "float32"),
    "study": lambda name: StudiedModel.open(ModelConfig(path=name, name="m")),
}


def on_hub(name: str) -> Path:
    """The folder of a model's files in the cache, filled with a whole model in several files."""
    folder = root / "hub" / f"models--org--{name}" / "snapshots" / SHA
    save_tiny_model(folder, "llama-mha-untied")
    (folder / "model.safetensors").unlink()
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    tiny_model("llama-mha-untied", vocab_size=rows).save_pretrained(folder, max_shard_size="20KB")
    references = folder.parents[1] / "refs"
    references.mkdir()
    (references / "main").write_text(SHA)
    return folder


def moved() -> dict[str, str]:
    """What is said of a model whose branch goes on to another commit after a study has opened it."""
    folder = on_hub("moved")
    opened = StudiedModel.open(ModelConfig(path="org/moved", name="m"))
    later = folder.with_name("b" * 40)
    shutil.copytree(folder, later)
    (folder.parents[1] / "refs" / "main").write_text(later.name)
    said = {"commit": str(opened.revision)}
    for name, revision in (("kept", opened.revision), ("newest", None)):
        try:
            require_fingerprint("org/moved", opened.fingerprint, revision)
            said[name] = ""
        except PolyneuronError as error:
            said[name] = error.message
    return said


def main() -> None:
    """Prints what each door says about each model."""
    on_hub("whole")
    (on_hub("adapter") / "adapter_config.json").write_text("{}")
    config = on_hub("awq") / "config.json"
    config.write_text(
        json.dumps(json.loads(config.read_text()) | {"quantization_config": {"quant_method": "awq"}})
    )
    index = on_hub("outside") / "model.safetensors.index.json"
    index.write_text(index.read_text().replace('": "model-', '": "../model-', 1))
    (sorted(on_hub("lost").glob("*.safetensors"))[1]).unlink()
    found: dict[str, dict[str, str]] = {}
    for model in ("whole", "adapter", "awq", "outside", "lost", "nowhere"):
        for door, open_model in DOORS.items():
            try:
                open_model(f"org/{model}")
                said = ""
            except PolyneuronError as error:
                said = error.message
            except Exception as error:
                said = f"CRASH {type(error).__name__} {error}"
            found.setdefault(model, {})[door] = said
    found["moved"] = moved()
    print_found(found)


if __name__ == "__main__":
    main()
