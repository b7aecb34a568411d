"""Nothing a user supplies is unpickled or executed: no call in our code that would, and no file that gets its way."""

import ast
import json
import os
import pickle
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from polyneuron.neuron_core.common.errors import (
    ConfigError,
    CorpusError,
    ModelError,
    PolyneuronError,
    SetError,
)
from polyneuron.neuron_core.corpora.presets import source_of
from polyneuron.neuron_core.corpora.sources import iter_texts
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.model.anatomy import Anatomy, anatomy_of
from polyneuron.neuron_core.model.load import load_model
from polyneuron.neuron_core.model.opening import load_config
from polyneuron.neuron_core.published.sets import load_lape, load_published_json
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.pipelines.config.load import load_study
from tests.tiny_models import save_tiny_model, tiny_model

ROOT = Path(__file__).parents[1]
FOLDERS = ("neuron_core", "cluster", "eval", "pipelines", "benchmarks", "docker")

UNPICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
REFUSED = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load",
    "np.fromfile", "numpy.fromfile", "pd.read_pickle", "pandas.read_pickle", "torch.jit.load", "torch.hub.load",
    "torch.package.PackageImporter",
}  # fmt: skip
NEEDED = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "np.save": ("allow_pickle", False),
}


def dangers(source: str) -> Iterator[str]:
    """What a module's code could be made to run things by: line and reason."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            )
            for name in names:
                if name.split(".")[0] in UNPICKLERS:
                    yield f"line {node.lineno}: imports {name}"
        elif isinstance(node, ast.Call):
            called, given = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
            if called in REFUSED or called.endswith((".read_pickle", ".loads_pickle")):
                yield f"line {node.lineno}: calls {called}"
            if called in NEEDED and given.get(NEEDED[called][0]) != repr(NEEDED[called][1]):
                yield f"line {node.lineno}: {called} without {NEEDED[called][0]}={NEEDED[called][1]}"
            if given.get("shell") == "True":
                yield f"line {node.lineno}: {called} through a shell"
            if given.get("trust_remote_code") == "True":
                yield f"line {node.lineno}: {called} trusts remote code"
            if called.endswith("AutoModelForCausalLM.from_pretrained") and "gguf_file" not in given:
                yield f"line {node.lineno}: {called}: models are loaded by neuron_core.models.from_pretrained"
            if called == "wants.from_pretrained" and given.get("use_safetensors") != "True":
                yield f"line {node.lineno}: {called} without use_safetensors=True"


def test_no_module_unpickles_or_executes_what_it_reads() -> None:
    modules = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    found = {str(path.relative_to(ROOT)): list(dangers(path.read_text(encoding="utf-8"))) for path in modules}
    assert len(found) > 200 and {path: reasons for path, reasons in found.items() if reasons} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "import cloudpickle.cloudpickle", "torch.load(p)",
        "torch.load(p, weights_only=False)", "np.load(p, allow_pickle=True)", "np.load(p)", "yaml.load(t, Loader=yaml.Loader)",
        "eval(t)", "subprocess.run(c, shell=True)", "AutoTokenizer.from_pretrained(p, trust_remote_code=True)",
        "AutoModelForCausalLM.from_pretrained(p)", "os.system(c)",
    ],
)  # fmt: skip
def test_each_danger_is_seen(source: str) -> None:
    assert len(list(dangers(source))) == 1


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self._marker),)


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """Where hostile code would leave its mark; none may be there afterwards."""
    path = tmp_path / "marker"
    yield path
    assert not path.exists(), "hostile code ran"


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return anatomy_of(tiny_model("llama-gqa-tied"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_bomb_in_place_of_neuron_sets_does_not_go_off(
    zipped: bool, marker: Path, tmp_path: Path, anatomy: Anatomy
) -> None:
    file = tmp_path / "x.neuron.pth"
    torch.save([[Bomb(marker)]], file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(SetError, match="without running code"):
        load_lape(file, anatomy, "m", ["en"])
    file.write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises(SetError, match="without running code"):
        load_lape(file, anatomy, "m", ["en"])


def damaged(content: bytes, seed: int) -> bytes:
    """Some bytes changed, cut off or put in."""
    draw, changed = random.Random(seed), bytearray(content)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(changed))
        change = draw.random()
        if change < 0.5:
            changed[at] = draw.randrange(256)
        elif change < 0.7:
            del changed[max(8, at) :]
        else:
            changed[at:at] = draw.randbytes(draw.randint(1, 8))
    return bytes(changed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["zipped", "old", "safetensors", "json"])
def test_damaged_files_end_in_one_message(kind: str, tmp_path: Path, anatomy: Anatomy) -> None:
    file, n_refused = tmp_path / "x", 0
    edit = WeightEdit.zero(
        NeuronSet.from_indices("m", anatomy.widths, anatomy.n_layers, {(0, "ffn"): [1, 2]})
    )
    read: Callable[[Path], Any] = WeightEdit.load
    if kind == "safetensors":
        edit.save(file)
    elif kind == "json":
        file.write_text(json.dumps({"attn_q": {"0": [1, 2], "2": []}, "fwd_up": {"1": [3]}}))
        read = lambda path: load_published_json(path, anatomy, "m")  # noqa: E731
    else:
        torch.save([[torch.tensor([1, 2])] * 3], file, _use_new_zipfile_serialization=kind == "zipped")
        read = lambda path: load_lape(path, anatomy, "m", ["en"])  # noqa: E731
    whole = file.read_bytes()
    read(file)
    for seed in range(200):
        file.write_bytes(damaged(whole, seed))
        try:
            read(file)
        except PolyneuronError:
            n_refused += 1
    assert n_refused > 50


@pytest.mark.parametrize(
    "values",
    [
        torch.ones(2, dtype=torch.bfloat16),
        torch.ones(2, requires_grad=True),
        torch.eye(2, dtype=torch.long).to_sparse(),
        torch.tensor([1 + 1j]),
        "word",
        {"a": 1},
    ],
    ids=["bfloat16", "with gradient", "sparse", "complex", "text", "mapping"],
)
def test_tensors_that_are_no_indices_are_refused(values: Any, tmp_path: Path, anatomy: Anatomy) -> None:
    torch.save([[values] * anatomy.n_layers], tmp_path / "x.pth")
    with pytest.raises(SetError, match="whole numbers"):
        load_lape(tmp_path / "x.pth", anatomy, "m", ["en"])


DEEP = "[" * 100_000


def test_deep_json_is_refused(tmp_path: Path, anatomy: Anatomy) -> None:
    (tmp_path / "set.json").write_text(f'{{"attn_q": {DEEP}')
    with pytest.raises(SetError, match="No published set"):
        load_published_json(tmp_path / "set.json", anatomy, "m")
    (tmp_path / "en.jsonl").write_text(f'{{"text": {DEEP}\n')
    with pytest.raises(CorpusError, match="not JSON"):
        list(iter_texts(source_of(str(tmp_path / "en.jsonl")), "en"))


BOMBS = {
    "aliases": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "\n".join(
        f"{b}: &{b} [{', '.join(['*' + a] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "itself": "models: &m [*m]",
    "deep": DEEP,
    "constructor": "models: !!python/object/apply:os.mkdir [marker]",
    "number": "seed: " + "9" * 10_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_yaml_bombs_are_refused_in_one_message(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(BOMBS[name])
    with pytest.raises(ConfigError) as refused:
        load_study(tmp_path / "study.yaml")
    assert len(refused.value.message) < 20_000 and not (tmp_path / "marker").exists()


def test_a_small_file_that_unpacks_to_one_huge_line_is_refused(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=31)
    with (tmp_path / "en.txt.gz").open("wb") as file:
        for _ in range(160):
            file.write(packer.compress(b"a" * (1 << 20)))
        file.write(packer.flush())
    assert (tmp_path / "en.txt.gz").stat().st_size < 1 << 20
    with pytest.raises(CorpusError, match="it is no text"):
        list(iter_texts(source_of(str(tmp_path / "en.txt.gz")), "en"))


def hostile_code(marker: Path) -> str:
    return f"import os\nos.mkdir({str(marker)!r})\nclass Hostile: pass\n"


def test_a_models_own_code_is_not_run(marker: Path, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model")
    for name in ("modeling_hostile.py", "tokenization_hostile.py", "custom_generate/generate.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(hostile_code(marker))
    for name, classes in (
        (
            "config.json",
            {"AutoConfig": "modeling_hostile.Hostile", "AutoModelForCausalLM": "modeling_hostile.Hostile"},
        ),
        (
            "tokenizer_config.json",
            {"AutoTokenizer": ["tokenization_hostile.Hostile", "tokenization_hostile.Hostile"]},
        ),
    ):
        described = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(described | {"auto_map": classes}))
    load_model(folder)  # transformers knows the family: its own class is taken
    described = json.loads((folder / "config.json").read_text()) | {"model_type": "hostile"}
    (folder / "config.json").write_text(json.dumps(described))
    with pytest.raises(ModelError):
        load_config(folder)


def test_pickled_weights_are_not_opened(marker: Path, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save({"lm_head.weight": Bomb(marker)}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError):
        load_model(folder)


def test_a_datasets_own_code_is_not_run(marker: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "corpus.py").write_text(hostile_code(marker))
    with pytest.raises(CorpusError):
        list(iter_texts(source_of(f"hub:{tmp_path / 'corpus'}"), "en"))
