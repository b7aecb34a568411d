"""Where benchmark items come from: the hub at a pinned revision, a local folder in the same schema, the embedded sample, or a
user's own file in MMMLU's columns. Local rows are checked before they are used."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from polyneuron.eval.tasks.benchmarks import BenchmarkTask
from polyneuron.eval.tasks.row_rules import ROW_RULES
from polyneuron.neuron_core.common.cache import cache_folder, writable_cache
from polyneuron.neuron_core.common.errors import BenchmarkError
from polyneuron.neuron_core.common.memory import recall, remember, versions_of

_MMMLU = ROW_RULES["openai/MMMLU"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """Where the data of one task lie."""

    path: str
    """Hub id or folder."""
    kwargs: dict[str, Any]
    """Further arguments of `datasets.load_dataset`."""
    kind: str
    """One of "hub", "local" and "sample"."""
    revision: str
    """The hub's commit, or a hash of the local files."""
    config: str
    """The dataset's configuration."""
    subjects: tuple[str, ...] | None = None
    """Subjects that have rows; None: the benchmark has no subjects, or all may be taken."""


class BenchmarkData:
    """`source`: "hub", "sample", or a folder that holds `<organisation>/<dataset>/` as downloaded from the hub.

    revisions: dataset id -> commit, for the hub; without one, the commit that `main` is at is looked up,
    used, and stored with every score.
    """

    def __init__(self, source: str, revisions: Mapping[str, str] | None = None) -> None:
        self._source, self._revisions = source, dict(revisions or {})
        self._located: dict[tuple[str, str, str | None], Located] = {}

    def locate(self, task: BenchmarkTask) -> Located:
        """Finds and checks the data of a task; asked twice, it answers from memory. Raises BenchmarkError when nothing is there,
        the hub cannot be reached, or a row cannot be used."""
        key = (task.benchmark.name, task.language, task.user_file)
        if key not in self._located:
            self._located[key] = self._locate(task)
        return self._located[key]

    def _locate(self, task: BenchmarkTask) -> Located:
        if task.user_file is not None:
            kind = "sample" if self._source == "sample" else "local"
            folder, config = _mmmlu_folder(Path(task.user_file)), "default"
        elif self._source == "hub":
            return self._on_hub(task)
        else:
            kind, folder, config = *self._local_root(task), task.config
        revision = _content_hash(folder)
        kwargs = {"cache_dir": str(writable_cache("datasets", revision))}
        return Located(
            path=str(folder),
            kwargs=kwargs,
            kind=kind,
            revision=revision,
            config=config,
            subjects=_checked_before(task, folder, config, kwargs, revision),
        )

    def _local_root(self, task: BenchmarkTask) -> tuple[str, Path]:
        dataset, title = task.benchmark.dataset, task.benchmark.title
        if self._source == "sample":
            from polyneuron.eval.samples import sample_folder

            folder = sample_folder() / dataset
            if not folder.is_dir():
                raise BenchmarkError(f"The embedded sample has no {title}; name another source of data")
            return "sample", folder
        folder = Path(self._source).expanduser().absolute() / dataset
        if not folder.is_dir():
            raise BenchmarkError(
                f"{title} is not in {self._source}: {folder} is missing. Where there is a connection, "
                f"run: hf download --repo-type dataset {dataset} --local-dir {folder}"
            )
        return "local", folder

    def _on_hub(self, task: BenchmarkTask) -> Located:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

        dataset = task.benchmark.dataset
        try:
            revision = HfApi().dataset_info(dataset, revision=self._revisions.get(dataset), timeout=20).sha
        except (HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
            raise BenchmarkError(_unreachable(task, error)) from error
        except Exception as error:
            # huggingface_hub passes the errors of its HTTP library (httpx, httpx2) on as they are.
            if not type(error).__module__.startswith("http"):
                raise
            raise BenchmarkError(_unreachable(task, error)) from error
        assert revision is not None
        return Located(
            path=dataset, kwargs={"revision": revision}, kind="hub", revision=revision, config=task.config
        )


def _unreachable(task: BenchmarkTask, error: Exception) -> str:
    dataset = task.benchmark.dataset
    return (
        f"{task.benchmark.title} cannot be read from the hub ({type(error).__name__}). Where there is a connection, run: "
        f"hf download --repo-type dataset {dataset} --local-dir DATA/{dataset} - then copy DATA here and set "
        "evaluation.data=DATA"
    )


def _content_hash(folder: Path) -> str:
    digest = xxhash.xxh3_128()
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    for name in names:
        if ".cache" not in name.parts:  # of the hub's client; a folder above may well have this name
            digest.update(str(name).encode())
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _checked_before(
    task: BenchmarkTask, folder: Path, config: str, kwargs: Mapping[str, Any], revision: str
) -> tuple[str, ...] | None:
    """As `_checked`, remembered for rows of this content."""
    about, read = (
        [task.benchmark.name, str(folder), config],
        {"revision": revision, **versions_of("datasets")},
    )
    kept = recall("rows", about, **read)
    if kept is None:
        kept = {"subjects": _checked(task, folder, config, kwargs)}
        remember("rows", about, kept, **read)
    return None if kept["subjects"] is None else tuple(kept["subjects"])


def _checked(
    task: BenchmarkTask, folder: Path, config: str, kwargs: Mapping[str, Any]
) -> tuple[str, ...] | None:
    """The subjects that have rows; raises BenchmarkError for a row that cannot be used."""
    from datasets import get_dataset_config_names

    column = task.benchmark.subjects
    if column == "config":
        names = sorted(name for name in get_dataset_config_names(str(folder)) if name != "default")
        for name in names:
            _check_rows(task, folder, name, kwargs)
        return tuple(names)
    rows = _check_rows(task, folder, config, kwargs)
    if column is None:
        return None
    return tuple(dict.fromkeys(_subject(str(row[column])) for row in rows))


def _subject(name: str) -> str:
    """As lm-eval names it: MMMLU's column sometimes holds `anatomy_test.csv_sw-KE.csv`."""
    for marker in ("_test.csv", "_test-"):
        name = name.partition(marker)[0]
    return name.replace(" ", "_")


def _check_rows(
    task: BenchmarkTask, folder: Path, config: str, kwargs: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """All rows of all splits; the last split's last (lm-eval draws items from `test` or `validation`)."""
    from datasets import load_dataset

    try:
        splits = load_dataset(str(folder), config, **kwargs)
    except (ValueError, OSError, FileNotFoundError) as error:
        raise BenchmarkError(
            f"{task.benchmark.title} in {folder} has no configuration {config!r} that can be read: "
            f"{str(error).splitlines()[0]}"
        ) from error
    rule = ROW_RULES[task.benchmark.dataset]
    judged: list[dict[str, Any]] = []
    for split, table in splits.items():
        where = f"{folder} ({config}, {split})"
        rule.require_columns(table.column_names, where)
        rows = [dict(row) for row in table]
        rule.require_usable(rows, where)
        if split in ("test", "validation"):
            judged = rows
    return judged


def _mmmlu_folder(file: Path) -> Path:
    """A dataset folder made of a user's CSV or Parquet file, checked. Kept in the cache under its content's hash."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = _read_rows(file)
    _MMMLU.require_usable(rows, str(file))
    _MMMLU.require_distinct(rows, ("A", "B", "C", "D"), str(file))
    if not rows:
        raise BenchmarkError(f"{file} has no rows")
    kept = [{column: str(row[column]) for column in _MMMLU.columns} for row in rows]
    name = xxhash.xxh3_128_hexdigest(json.dumps(kept, ensure_ascii=False).encode())
    folder = cache_folder() / "mmmlu-files" / name
    if not (folder / "README.md").exists():
        writable_cache("mmmlu-files", name)
        pq.write_table(pa.Table.from_pylist(kept), folder / "test.parquet")
        card = dataset_card({"default": {"test": "test.parquet"}})
        (folder / "README.md").write_text(card, encoding="utf-8")
    return folder


def dataset_card(configs: Mapping[str, Mapping[str, str]]) -> str:
    """A dataset card (README.md) that names the files of each configuration and split."""
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, path in splits.items():
            lines += [f"  - split: {split}", f"    path: {path}"]
    return "\n".join([*lines, "---", ""])


def _read_rows(file: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    try:
        if file.suffix == ".parquet":
            rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
            columns = pq.read_schema(file).names
        else:
            with file.open(encoding="utf-8-sig", newline="") as stream:
                reader = csv.DictReader(stream)
                rows, columns = list(reader), list(reader.fieldnames or [])
                ragged = next(
                    (n for n, row in enumerate(rows, 1) if None in row or None in row.values()), None
                )
                if ragged:
                    raise BenchmarkError(
                        f"{file}, row {ragged}: not as many fields as the header has. Look at its commas and quotation marks"
                    )
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise BenchmarkError(f"The MMMLU file {file} cannot be read: {error}") from error
    if repeated := sorted({column for column in columns if columns.count(column) > 1}):
        raise BenchmarkError(
            f"{file} has more than one column called {', '.join(repeated)}. Remove or rename them"
        )
    _MMMLU.require_columns(columns, str(file))
    return rows
