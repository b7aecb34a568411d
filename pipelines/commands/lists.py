"""`polyneuron ls`: the names that options and configurations take, one a line."""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from polyneuron.neuron_core.common.errors import ConfigError


class Listed(StrEnum):
    """What can be listed."""

    models = "models"
    families = "families"
    benchmarks = "benchmarks"
    corpora = "corpora"
    configs = "configs"
    tables = "tables"
    variants = "variants"


def ls(
    what: Annotated[Listed, typer.Argument(help="What to list; variants are those of a store.")],
    store: Annotated[str | None, typer.Option(help="The store's folder or URL, for variants.")] = None,
) -> None:
    """List models on this machine, families, benchmarks, corpora, configs, tables and their columns, or variants of a store."""
    if (what is Listed.variants) != (store is not None):
        raise ConfigError("polyneuron ls variants needs --store DIR, and nothing else takes it")
    rows = list(_variants(store)) if store is not None else list(_LISTS[what]())
    width = max((len(name) for name, _ in rows), default=0)
    for name, words in rows:
        print(f"{name:<{width}}  {words}".rstrip())


def _models() -> Iterator[tuple[str, str]]:
    """What --model takes without a download: packages of the shipped configurations, and the hub's cache."""
    import importlib.util

    from huggingface_hub.constants import HF_HUB_CACHE

    packages = {
        model["gguf_package"]
        for config in _shipped().values()
        for model in config["models"]
        if "gguf_package" in model
    }
    for package in sorted(packages):
        if importlib.util.find_spec(package):
            yield package, "a package that carries a GGUF file"
    for folder in sorted(Path(HF_HUB_CACHE).glob("models--*")):
        if any(folder.glob("snapshots/*/config.json")):
            yield folder.name.removeprefix("models--").replace("--", "/"), "in the hub's cache"


def _families() -> Iterator[tuple[str, str]]:
    from polyneuron.neuron_core.model.families import FAMILIES

    for family in FAMILIES:
        yield family.name, f"model_type {', '.join(family.model_types)}"


def _benchmarks() -> Iterator[tuple[str, str]]:
    from polyneuron.eval.tasks.benchmarks import BENCHMARKS

    for benchmark in BENCHMARKS.values():
        yield benchmark.name, f"{benchmark.title}: {', '.join(benchmark.codes)}"


def _corpora() -> Iterator[tuple[str, str]]:
    from polyneuron.neuron_core.corpora.embedded_corpus import embedded_languages
    from polyneuron.neuron_core.corpora.presets import PRESETS

    for name, source in PRESETS.items():
        languages = f"carried by Polyneuron: {', '.join(embedded_languages())}"
        yield name, languages if source.kind == "embedded" else source.describe()


def _configs() -> Iterator[tuple[str, str]]:
    for name, config in _shipped().items():
        models = [str(model.get("name") or model.get("path")) for model in config["models"]]
        others = f" and {len(models) - 3} more" if len(models) > 3 else ""
        yield name, f"{config['kind']}: {', '.join(models[:3])}{others}"


def _tables() -> Iterator[tuple[str, str]]:
    """The tables that SQL may ask, each followed by its columns."""
    from polyneuron.eval.store.schemas import TABLES

    for spec in TABLES.values():
        yield spec.name, spec.says
        yield from ((f"{spec.name}.{column}", says) for column, says in spec.descriptions().items())


def _shipped() -> dict[str, Mapping[str, list[Mapping[str, str]]]]:
    """The shipped configurations as they are written, by name."""
    import yaml

    from polyneuron.pipelines.config.load import CONFIGS

    return {file.stem: yaml.safe_load(file.read_text("utf-8")) for file in sorted(CONFIGS.glob("*.yaml"))}


def _variants(store: str) -> Iterator[tuple[str, str]]:
    """The variants of every model of a store, and what is known of each."""
    from polyneuron.eval.store.store import Store

    opened = Store(store)
    opened.require_marker()
    known: dict[tuple[str, str], list[str]] = {}
    for table, words in {"training": "trained", "perplexities": "perplexities", "scores": "scores"}.items():
        rows = opened.read(table, columns=["model", "variant"]).group_by(["model", "variant"]).aggregate([])
        for row in rows.to_pylist():
            known.setdefault((row["model"], row["variant"]), []).append(words)
    of_several = len({model for model, _ in known}) > 1
    for (model, variant), kinds in sorted(known.items()):
        yield variant, ", ".join([*([model] if of_several else []), *kinds])


_LISTS: Mapping[Listed, Callable[[], Iterator[tuple[str, str]]]] = {
    Listed.models: _models,
    Listed.families: _families,
    Listed.benchmarks: _benchmarks,
    Listed.corpora: _corpora,
    Listed.configs: _configs,
    Listed.tables: _tables,
}
