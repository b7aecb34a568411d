"""Studies with many units, languages, items or variants: all of a study but the model's own arithmetic."""

import random
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from bench.load.case import LoadCase, Step
from polyneuron.eval.engines.settings import EngineSettings
from polyneuron.eval.report import write_report
from polyneuron.eval.store.files import LocalFiles
from polyneuron.eval.store.query import query
from polyneuron.eval.store.run_tables import RUNS
from polyneuron.eval.store.store import Store
from polyneuron.eval.tasks.judge import Evaluation, summary
from polyneuron.neuron_core.impacts.schema import IMPACTS_SCHEMA, SUMMARY_SCHEMA
from polyneuron.neuron_core.measures.perplexity import SentenceNll
from polyneuron.neuron_core.passes.batches import Sentence
from polyneuron.pipelines.config.evaluation import BenchmarkConfig, EvaluationConfig
from polyneuron.pipelines.config.study import AblationConfig, DetectionConfig, ModelConfig, SelectionConfig
from polyneuron.pipelines.run.ledger import Ledger
from polyneuron.pipelines.run.studied_model import Parts, StudiedModel
from polyneuron.pipelines.stages.ablation import Ablation
from polyneuron.pipelines.stages.corpora import Sentences
from polyneuron.pipelines.stages.detection import Selected, detect_and_select, detection_units
from polyneuron.pipelines.stages.evaluation import benchmark_tasks, evaluate
from polyneuron.pipelines.stages.metrics import compute_metrics
from polyneuron.pipelines.stages.variants import variants_named
from polyneuron.pipelines.stages.verdicts import comparisons, store_verdicts

_CODES = [
    "en",
    "zh",
    "th",
    "sw",
    "fr",
    "de",
    "es",
    "ru",
    "hi",
    "ar",
    "bg",
    "el",
    "tr",
    "ur",
    "vi",
    "ja",
    "ko",
    "it",
    "nl",
    "pl",
    "pt",
    "ro",
    "sv",
    "fi",
    "da",
    "cs",
    "hu",
    "uk",
    "he",
    "id",
    "ms",
    "fa",
    "bn",
    "ta",
    "te",
    "ka",
    "hy",
    "az",
    "kk",
    "mn",
]
_RUN, _MODEL = "run", "synthetic"
_WIDTHS = {"q": 64, "k": 32, "v": 32, "o": 64, "ffn": 128}
_FULL = DetectionConfig(mode="full")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """How much of everything a study has."""

    languages: int = 6
    """Languages, of which 15 have the benchmark XNLI."""
    layers: int = 4
    """Layers, of 320 neurons each."""
    sentences: int = 50
    """Held-out sentences of each language."""
    controls: int = 2
    """Draws of each kind of control beside each set."""
    items: int = 20
    """Items of each benchmark and language."""
    benchmarks: tuple[str, ...] = ("xnli",)
    """Right or wrong (xnli, mgsm), or scored in between (xquad)."""


class SyntheticStudy:
    """The stages of a study, with numbers drawn at random in the place of a model's."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        """Opens the study's store in `folder`."""
        self.shape, self.codes = shape, _CODES[: shape.languages]
        self.store, self.report = Store(folder / "store"), folder / "report.html"
        self.ledger = Ledger(self.store, _MODEL, _RUN)
        anatomy = SimpleNamespace(n_layers=shape.layers, widths=_WIDTHS)
        facts: Any = SimpleNamespace(adds_bos=False, anatomy=anatomy)
        self.model = StudiedModel(
            config=ModelConfig(path=_MODEL),
            source=_MODEL,
            parts=Parts.of(None, None),
            facts=facts,
            fingerprint="none",
        )
        texts = {
            code: [Sentence(code, i, tuple(range(i, i + 8))) for i in range(shape.sentences)]
            for code in self.codes
        }
        self.sentences = Sentences(texts, texts, {})
        self.workers: Any = SimpleNamespace(model=self.model, run=self._likelihoods)
        self.ablation = AblationConfig(
            shared_control_seeds=shape.controls, exclusive_control_seeds=shape.controls, variants_per_pass=16
        )
        self.evaluation = EvaluationConfig(
            benchmarks=tuple(BenchmarkConfig(name=name) for name in shape.benchmarks),
            variants=("shared", "exclusive-*", "control-shared-*", "control-exclusive-*"),
        )

    def begin(self) -> None:
        """Writes what the stages before selection would have written."""
        run = dict.fromkeys(RUNS.schema.names[2:]) | {"started_at": "2026-01-01", "status": "finished"}
        self.store.write("runs", [run], _RUN, run_id=_RUN)
        for number, (code, unit) in enumerate(detection_units(self.model, self.sentences, _FULL).items()):
            impacts, summaries = _impacts(code, number, self.shape)
            self.ledger.put("impacts", unit, impacts, language=code)
            self.ledger.put("detections", unit, summaries, language=code)
            row = {
                "model": _MODEL,
                "weights": self.model.fingerprint,
                "language": code,
                "source": "synthetic",
                "revision": None,
                "sha": code,
                "detect_in": "windows",
                **dict.fromkeys(("n_read", "n_detection", "n_heldout"), self.shape.sentences),
                **dict.fromkeys(("n_tokens_detection", "n_tokens_heldout", "n_cut"), 0),
                "dropped_json": "{}",
                "doubts_json": "[]",
            }
            self.ledger.put("corpora", f"corpus-{code}", [row])

    def select(self) -> Selected:
        """Selects sets, and draws their controls."""
        return detect_and_select(
            self.ledger,
            self.sentences,
            self.workers,
            detection=_FULL,
            selection=SelectionConfig(target_shared=0.01),
            n_controls=self.ablation.n_controls,
        )

    def measure(self, selected: Selected) -> None:
        """Perplexities of all variants, and the metrics."""
        engine: Any = None
        ablation = Ablation(self.ledger, self.sentences, self.ablation, self.workers, engine)
        units = ablation.without_sets(selected)
        compute_metrics(self.ledger, selected, units, 1000, 0)

    def judge(self, selected: Selected, verdicts: bool = True) -> None:
        """Scores of all variants on the benchmarks, and the verdicts."""
        variants = variants_named(selected.variants, self.evaluation.variants)
        tasks = benchmark_tasks(self.evaluation, self.codes)
        engine: Any = SimpleNamespace(
            model=self.model,
            runs=True,
            data=SimpleNamespace(locate=lambda task: SimpleNamespace(revision="r", kind="local")),
            settings=EngineSettings(source=_MODEL, backend="hf", dtype="float32", add_bos=False),
            judge=lambda: SimpleNamespace(call=self._evaluation),
        )
        evaluated = evaluate(self.ledger, engine, variants, tasks)
        if verdicts:
            store_verdicts(self.ledger, comparisons(variants), evaluated, self.evaluation, seed=0)

    def end(self) -> None:
        """Lists the units of the run."""
        self.ledger.close_stage()

    def _likelihoods(self, title: str, function: Any, batches: Any, edits: Any) -> list[Any]:
        rows = []
        for edit in edits:
            chance = random.Random("base" if edit is None else edit.fingerprint())
            rows.append(
                [
                    SentenceNll(s.language, s.index, 20 + chance.gauss(0, 1), 7)
                    for batch in batches
                    for s in batch.sentences
                ]
            )
        return [rows]

    def _evaluation(self, what: str, change: Any, task: Any) -> Evaluation:
        chance = np.random.default_rng(len("" if change is None else change.fingerprint()))
        values = chance.random(self.shape.items)
        if task.benchmark.name != "xquad":
            values = (values < 0.5).astype(float)
        about = {"metric": task.benchmark.metric, "filter": task.benchmark.filter}
        samples = [
            about
            | {
                "task": task.lm_eval_name,
                "item": item,
                "value": float(value),
                "target": "a",
                "response": "an answer of a few words",
                **dict.fromkeys(("doc_hash", "prompt_hash", "tokens_hash"), f"{item:032}"),
            }
            for item, value in enumerate(values)
        ]
        score = about | {"primary": True, "task_version": "1", **summary(values.tolist(), 0)}
        return Evaluation([score], samples)


def _impacts(code: str, number: int, shape: Shape) -> tuple[pa.Table, pa.Table]:
    widths = _WIDTHS
    common, own = np.random.default_rng(0), np.random.default_rng([1, number])
    n = shape.layers * sum(widths.values())
    strong = (common.random(n) < 0.02) | (own.random(n) < 0.02)
    strength = np.where(strong, 1, 0.01) * (1 + own.random(n)).astype(np.float32)
    parts = []
    for layer in range(shape.layers):
        for group, width in widths.items():
            values, strength = strength[:width].astype(np.float32), strength[width:]
            columns = [
                pa.array([code] * width),
                pa.array(np.full(width, layer, np.int32)),
                pa.array([group] * width),
                pa.array(np.arange(width, dtype=np.int32)),
                *(pa.array(values) for _ in range(5)),
                pa.array([[value] * 5 for value in values.tolist()], pa.list_(pa.float32())),
                pa.array(values),
                pa.array(np.zeros(width, bool)),
                *(pa.nulls(width, pa.float32()) for _ in range(2)),
            ]
            parts.append(pa.Table.from_arrays(columns, schema=IMPACTS_SCHEMA))
    summaries = [
        dict.fromkeys(SUMMARY_SCHEMA.names)
        | {
            "language": code,
            "group": group,
            "n_sentences": shape.sentences,
            "n_tokens": shape.sentences * 8,
            "seed_mean_square": 0.1,
            "seed_mean_square_raw": 0.1,
            "n_bounded": 0,
            "mode": "full",
        }
        for group in widths
    ]
    return pa.concat_tables(parts), pa.Table.from_pylist(summaries, schema=SUMMARY_SCHEMA)


def _of(shape_of: Any, *stages: str) -> Step:
    """A step that runs stages; what they need of the selection is read from the store."""

    def step(folder: Path, size: int) -> None:
        # what is measured is ours, not how long this disk takes to make sure of a file
        LocalFiles._sync = lambda self, path: None  # type: ignore[method-assign]
        study = SyntheticStudy(folder, shape_of(size))
        if "begin" in stages:
            study.begin()
        selected = study.select()
        if "measure" in stages:
            study.measure(selected)
        if "score" in stages or "judge" in stages:
            study.judge(selected, verdicts="judge" in stages)
        study.end()

    return step


def _report(folder: Path, size: int) -> None:
    store = Store(folder / "store")
    path = write_report(store, folder / "report.html")
    print(f"the page has {path.stat().st_size / 2**20:.1f} MiB")


def _open(folder: Path, size: int) -> None:
    with Store(folder / "store").lock():
        pass


def _query_scores(folder: Path, size: int) -> None:
    query(Store(folder / "store"), "select benchmark, language, avg(value) from scores group by all")


def _query_samples(folder: Path, size: int) -> None:
    query(Store(folder / "store"), "select variant, avg(value) from samples group by all")


def _one_unit(folder: Path, size: int) -> None:
    """Reads one unit of the fullest table."""
    store = Store(folder / "store")
    path = next((folder / "store" / "samples").rglob("*.parquet"))
    assert len(store.read("samples", [("model", "=", _MODEL), ("unit", "in", [path.stem])]))


def _many_units(n: int) -> Shape:
    controls = max(0, round((n / 12 - 8) / 7))
    return Shape(controls=controls, items=2, sentences=5)


def _many_languages(n: int) -> Shape:
    return Shape(languages=n, layers=32, controls=1)


def _many_items(n: int) -> Shape:
    return Shape(languages=2, items=n, benchmarks=("xnli", "xquad"))


def _many_variants(n: int) -> Shape:
    return Shape(controls=max(0, round((n - 8) / 7)), items=100)


def _whole(shape_of: Any) -> dict[str, Step]:
    return {
        "select": _of(shape_of),
        "perplexities, metrics": _of(shape_of, "measure"),
        "scores": _of(shape_of, "score"),
        "verdicts": _of(shape_of, "judge"),
        "resume": _of(shape_of, "measure", "judge"),
        "report": _report,
    }


_READS: dict[str, Step] = {
    "open": _open,
    "query scores": _query_scores,
    "query samples": _query_samples,
    "read one unit": _one_unit,
}

CASES = {
    "store": LoadCase(
        unit="units",
        full=50_000,
        smallest=200,
        prepare=_of(_many_units, "begin", "measure", "score"),
        steps={**_READS, "resume": _of(_many_units, "measure", "score"), "report": _report},
    ),
    "languages": LoadCase(
        unit="languages",
        full=40,
        smallest=2,
        prepare=_of(_many_languages, "begin"),
        steps=_whole(_many_languages),
    ),
    "items": LoadCase(
        unit="items", full=20_000, prepare=_of(_many_items, "begin"), steps=_whole(_many_items)
    ),
    "variants": LoadCase(
        unit="variants",
        full=500,
        smallest=8,
        prepare=_of(_many_variants, "begin"),
        steps=_whole(_many_variants),
    ),
}
