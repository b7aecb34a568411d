"""What is pushed is pulled again, bit for bit, through a hub on loopback; what is not what its card says is refused."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import HfApi

from polyneuron.neuron_core.common.errors import PolyneuronError, SetError, SharingError, StoreError
from polyneuron.neuron_core.edits.weight_edit import WeightEdit
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.notebook.study import open_study
from polyneuron.pipelines.sharing import card as cards
from polyneuron.pipelines.sharing.pull import pull
from polyneuron.pipelines.sharing.push import push
from tests.pipelines.sharing.conftest import VARIANT
from tests.pipelines.sharing.hub_double import TOKEN, HubDouble
from tests.tiny_models import save_tiny_model

ROOT = Path(__file__).parents[3]


@pytest.fixture
def repo(request: pytest.FixtureRequest, api: HfApi, shared: Path) -> str:
    """A repository that a test has for itself, with the whole study in it."""
    name = f"lab/{hashlib.sha1(request.node.nodeid.encode()).hexdigest()[:12]}"
    push(api, str(shared), name)
    return name


def command(hub: HubDouble, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, with the hub and the token in its environment."""
    environment = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "TRANSFORMERS_OFFLINE": "0",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [sys.executable, "-m", "polyneuron.pipelines.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=280,
    )


@pytest.mark.long
def test_two_commands_carry_a_study_from_one_machine_to_another(
    hub: HubDouble, shared: Path, model: Path, tmp_path: Path
) -> None:
    pushed = command(hub, tmp_path, "push", "lab/two-commands", "--store", str(shared))
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout.strip().startswith(f"{hub.url}/lab/two-commands/commit/")
    assert (
        hub.repositories["lab/two-commands"].private
        and len(hub.repositories["lab/two-commands"].commits) == 2
    )

    pulled = command(hub, tmp_path, "pull", "lab/two-commands", "--model", str(model), "--out", "mine")
    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout == "mine\n" and "checksums of the card" in pulled.stderr
    study, mine = open_study(shared), tmp_path / "mine"
    drawn = set(study.controls.to_arrow()["variant"].to_pylist())
    names = {name for name, size in study.sets.sizes.items() if size and name not in drawn}
    assert {path.stem for path in (mine / "sets").iterdir()} == names and "shared" in names
    for name in names:
        assert NeuronSet.load(mine / "sets" / f"{name}.parquet") == study.sets[name]
    edit = WeightEdit.load(mine / "edits" / f"{VARIANT}.safetensors")
    assert edit.fingerprint() == study.edit(VARIANT).fingerprint()
    assert (mine / "report.html").read_bytes() == (shared / "report.html").read_bytes()
    assert sorted(path.name for path in mine.iterdir()) == [
        "README.md",
        "edits",
        "report.html",
        "results.json",
        "sets",
    ]
    assert {path.name for path in tmp_path.iterdir()} <= {"hf", "mine"}
    everything = [*mine.rglob("*"), *shared.rglob("*")]
    assert not [path for path in everything if path.is_file() and TOKEN.encode() in path.read_bytes()]

    other = save_tiny_model(tmp_path / "other", intermediate_size=200, seed=5)
    refused = command(hub, tmp_path, "pull", "lab/two-commands", "--model", str(other), "--out", "not-mine")
    assert refused.returncode == 2 and "another model" in refused.stderr
    assert not (tmp_path / "not-mine").exists()


def test_the_card_says_what_the_files_are(api: HfApi, hub: HubDouble, shared: Path, repo: str) -> None:
    files = hub.head(repo)
    page = files["README.md"].decode()
    about = yaml.safe_load(page.split("---\n")[1])
    card, study = about["polyneuron"], open_study(shared)
    assert about["library_name"] == "polyneuron" and tuple(about["language"]) == study.languages
    corpora = study.tables.read("corpora").to_pylist()
    assert card["model"] == "tiny" and card["source"] is card["revision"] is None
    assert {card["fingerprint"]} == {row["weights"] for row in corpora}
    assert card["corpora"] == {row["language"]: row["sha"] for row in corpora}
    (selection,) = study.tables.read("selections").to_pylist()
    assert card["rule"] == json.loads(selection["rule_json"]) and card["selection"] == study.selection
    assert card["code"].startswith("polyneuron ")
    assert {name: file["sha256"] for name, file in card["files"].items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != "README.md"
    }
    assert f"polyneuron pull {repo}" in page


def test_another_push_replaces_what_the_first_left(
    api: HfApi, hub: HubDouble, shared: Path, repo: str
) -> None:
    hub.commit(repo, {"notes.txt": b"mine"})
    url = push(api, str(shared), repo, parts=["sets"])
    files = hub.head(repo)
    assert url.endswith(hub.repositories[repo].commits[-1][0]) and "notes.txt" in files
    assert not [name for name in files if name.startswith(("edits/", "report", "results"))]
    assert set(cards.read(files["README.md"].decode(), repo).files) == {
        n for n in files if n.startswith("sets/")
    }


def test_a_repository_of_something_else_is_left_alone(api: HfApi, hub: HubDouble, shared: Path) -> None:
    name = api.create_repo("lab/weights", private=True).repo_id
    hub.commit(name, {"README.md": b"---\nlicense: mit\n---\nMy model"})
    with pytest.raises(SharingError, match="something else"):
        push(api, str(shared), name)
    assert set(hub.head(name)) == {"README.md"}


def test_what_cannot_be_shared_is_named(api: HfApi, hub: HubDouble, shared: Path, store: Path) -> None:
    with pytest.raises(StoreError, match="gpt"):
        push(api, str(shared), "lab/x", model="gpt")
    with pytest.raises(SharingError, match="no edits"):
        push(api, str(store), "lab/x", parts=["edits"])
    with pytest.raises(SharingError, match="lab/x/y"):
        push(api, str(shared), "lab/x/y")
    with pytest.raises(SharingError, match="token") as refused:
        push(HfApi(hub.url, "hf_wrongWrongWrongWrongWrong"), str(shared), "lab/x")
    assert "Wrong" not in refused.value.message and "lab/x" not in hub.repositories


def edited(hub: HubDouble, repo: str, **changes: Any) -> None:
    """The card with other values; those of `files` are added to its files."""
    page = hub.head(repo)["README.md"].decode()
    _, front, body = page.split("---\n", 2)
    about = yaml.safe_load(front)
    about["polyneuron"]["files"] |= changes.pop("files", {})
    about["polyneuron"] |= changes
    hub.commit(repo, {"README.md": f"---\n{yaml.safe_dump(about)}---\n{body}".encode()})


def refusal(api: HfApi, repo: str, out: Path, **named: Any) -> str:
    """Why a pull is refused; nothing of it is left."""
    beside = set(out.parent.iterdir())
    with pytest.raises(PolyneuronError) as refused:
        pull(api, repo, out, **named)
    assert set(out.parent.iterdir()) == beside
    return refused.value.message


def test_a_changed_or_missing_file_is_refused(api: HfApi, hub: HubDouble, repo: str, tmp_path: Path) -> None:
    whole = hub.repositories[repo].commits[-1][0]
    content = hub.head(repo)["sets/shared.parquet"]
    hub.commit(repo, {"sets/shared.parquet": content[:-1] + bytes([content[-1] ^ 1])})
    assert "checksum is another" in refusal(api, repo, tmp_path / "out")
    hub.commit(repo, {"sets/shared.parquet": None})
    assert "lacks sets/shared.parquet" in refusal(api, repo, tmp_path / "out")
    assert "nowhere" in refusal(api, repo, tmp_path / "out", revision="nowhere")
    assert pull(api, repo, tmp_path / "out", revision=whole).model == "tiny"


@pytest.mark.parametrize(
    "name",
    [
        "../escaped.parquet",
        "sets/../../escaped.parquet",
        "/tmp/escaped.parquet",
        "sets\\escaped.parquet",
        "C:/escaped.parquet",
        "sets/.hidden.parquet",
        "sets/sub/escaped.parquet",
        "sets/new\nline.parquet",
        "edits/model.bin",
        "edits/model.pkl",
        ".cache/x.parquet",
        "sets/SHARED.parquet",
    ],
)
def test_no_name_leaves_its_folder(api: HfApi, hub: HubDouble, repo: str, tmp_path: Path, name: str) -> None:
    content = b"anything"
    hub.commit(repo, {name: content})
    edited(hub, repo, files={name: {"sha256": hashlib.sha256(content).hexdigest(), "holds": "a set"}})
    hub.requests.clear()
    assert "card" in refusal(api, repo, tmp_path / "out")
    assert {path.rpartition("/")[2] for _, path in hub.requests if "/resolve/" in path} == {"README.md"}


def test_files_that_are_not_on_the_card_are_not_fetched(
    api: HfApi, hub: HubDouble, repo: str, tmp_path: Path
) -> None:
    hub.commit(repo, {"sets/extra.parquet": b"x", "model.pkl": b"x"})
    card = pull(api, repo, tmp_path / "out")
    assert "sets/extra.parquet" not in card.files
    assert (
        not (tmp_path / "out" / "sets" / "extra.parquet").exists()
        and not (tmp_path / "out" / "model.pkl").exists()
    )


def test_another_model_is_refused_before_anything_is_fetched(
    api: HfApi, hub: HubDouble, repo: str, model: Path, tmp_path: Path
) -> None:
    other = save_tiny_model(tmp_path / "other", intermediate_size=200, seed=5)
    hub.requests.clear()
    said = refusal(api, repo, tmp_path / "out", model=ModelConfig(path=str(other), name="tiny"))
    assert "made for another model" in said
    assert not [path for _, path in hub.requests if path.endswith((".parquet", ".safetensors"))]
    assert pull(api, repo, tmp_path / "out", model=ModelConfig(path=str(model))).model == "tiny"


def test_a_set_that_is_of_another_model_than_its_card_is_refused(
    api: HfApi, hub: HubDouble, repo: str, model: Path, tmp_path: Path
) -> None:
    foreign = NeuronSet.from_indices("other", {"ffn": 9999}, 40, {(39, "ffn"): [9998]})
    for name, said in (("other", "is of the model 'other'"), ("tiny", "layers")):
        path = NeuronSet.from_indices(name, foreign.widths, 40, {(39, "ffn"): [9998]}).save(
            tmp_path / "f.parquet"
        )
        digest = {"sha256": cards.checksum(path), "holds": "a set"}
        hub.commit(repo, {"sets/foreign.parquet": path.read_bytes()})
        edited(hub, repo, files={"sets/foreign.parquet": digest})
        assert said in refusal(api, repo, tmp_path / "out", model=ModelConfig(path=str(model)))


def test_a_pickle_under_the_name_of_an_edit_is_no_edit(
    api: HfApi, hub: HubDouble, repo: str, tmp_path: Path
) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (tmp_path.joinpath("sprung").touch, ())

    content = pickle.dumps(Trap())
    hub.commit(repo, {"edits/trap.safetensors": content})
    edited(
        hub,
        repo,
        files={"edits/trap.safetensors": {"sha256": hashlib.sha256(content).hexdigest(), "holds": "x"}},
    )
    with pytest.raises(SetError):
        pull(api, repo, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_what_is_in_the_way_stays(api: HfApi, repo: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(SharingError, match="exists already"):
        pull(api, repo, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_hub_that_is_not_there_and_a_repository_that_is_not_are_named(
    hub: HubDouble, api: HfApi, tmp_path: Path
) -> None:
    assert "lab/nothing" in refusal(api, "lab/nothing", tmp_path / "out")
    assert "HF_ENDPOINT" in refusal(HfApi("http://127.0.0.1:9", TOKEN), "lab/nothing", tmp_path / "out")
    assert "../x" in refusal(api, "../x", tmp_path / "out")
