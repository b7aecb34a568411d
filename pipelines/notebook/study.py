"""`pn.open`: one model's study in a store, as a notebook and the command line use it."""

from __future__ import annotations

import functools
import json
import operator
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from polyneuron.eval.report.numbers.units import StudiedTables, studies_of
from polyneuron.eval.store.schemas import TABLES
from polyneuron.eval.store.store import Store
from polyneuron.neuron_core.common.errors import ConfigError, ModelError, StoreError, UnknownName
from polyneuron.neuron_core.common.html import html_table
from polyneuron.neuron_core.sets.controls import matched_control
from polyneuron.neuron_core.sets.neuron_name import NeuronName
from polyneuron.neuron_core.sets.neuron_set import NeuronSet
from polyneuron.neuron_core.sets.neuron_sets import NeuronSets
from polyneuron.neuron_core.sets.variant_name import (
    CONTROL_KINDS,
    SHARED,
    exclusive,
    related,
    strict_exclusive,
)
from polyneuron.pipelines.config.study import ModelConfig
from polyneuron.pipelines.notebook.tables import LazyTable, StoredImpacts

if TYPE_CHECKING:
    from polyneuron.eval.engines.settings import Change
    from polyneuron.eval.neurons.facts import OpenedModel
    from polyneuron.neuron_core.edits.weight_edit import WeightEdit
    from polyneuron.pipelines.notebook.neuron_page import NeuronPage
    from polyneuron.pipelines.notebook.plots import Plots
    from polyneuron.pipelines.notebook.text_model import TextModel
    from polyneuron.pipelines.run.studied_model import StudiedModel

_UNITS_OF = ("selections", "detectors")
"""The tables whose units the neuron sets are of."""


def open_study(
    store: str | os.PathLike[str],
    model: str | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    trust_remote_code: bool = False,
) -> OpenedStudy:
    """The newest study in `store` of `model`, which may be left out where there is one model only. Nothing is written.

    `weights`: where the model lies now, if the study read it elsewhere. `trust_remote_code`: whether Python code that comes with
    the model may run; the study's own consent does not count, since a store may come from somebody else.

    Raises StoreError for a store that is not there or that no study reached a selection in, and for a model that it does not
    hold, or that is not named among several.
    """
    opened = Store(store)
    if not opened.exists():
        raise StoreError(f"There is no store at {opened.root}: give the folder of a finished study")
    runs = sorted(opened.read("runs").to_pylist(), key=lambda row: (str(row["started_at"]), row["run_id"]))
    studies = {tables.model: tables for tables in studies_of(opened, runs, None)}
    names = ", ".join(studies)
    if model is None and len(studies) > 1:
        raise StoreError(f"{opened.root} holds studies of several models: name one of {names}")
    if model is not None and model not in studies:
        raise StoreError(f"{opened.root} holds no study of {model!r}; it holds {names}")
    tables = studies[model] if model is not None else next(iter(studies.values()))
    return OpenedStudy(tables, weights, trust_remote_code=trust_remote_code)


class OpenedStudy:
    """One model's study. Sets, tables and the model are read when they are first asked for."""

    def __init__(
        self,
        tables: StudiedTables,
        weights: str | os.PathLike[str] | None = None,
        *,
        trust_remote_code: bool = False,
    ) -> None:
        """As `open_study`."""
        self._tables, self._weights, self._trusted = tables, weights, trust_remote_code
        self.model = tables.model
        """The name of the model in the store."""
        self.selection = str(tables.chosen()["selection"])
        """The name of the selection that the sets are of."""

    def __repr__(self) -> str:
        languages = ", ".join(self.languages)
        return f"OpenedStudy({self.model!r} in {self._tables.store.root}: {languages}; {self.selection})"

    def _repr_html_(self) -> str:
        rows = [(name, size) for name, size in self.sets.sizes.items() if name not in self._drawn]
        caption = f"{self.model}: {self.selection}, and {len(self._drawn)} controls"
        return html_table(caption, ("set", "neurons"), rows)

    @property
    def tables(self) -> StudiedTables:
        """What the store holds of the study, table by table."""
        return self._tables

    def _table(self, name: str) -> LazyTable:
        return LazyTable(name, TABLES[name].schema.names, lambda: self._tables.read(name))

    @functools.cached_property
    def impacts(self) -> StoredImpacts:
        """One row per language and neuron; `pn.select` takes it."""
        read = self._tables.read
        names = TABLES["impacts"].schema.names
        return StoredImpacts(names, lambda: read("impacts"), lambda: read("detections"))

    @functools.cached_property
    def perplexities(self) -> LazyTable:
        """One row per variant and held-out sentence: negative log likelihood in nats over its predicted tokens."""
        return self._table("perplexities")

    @functools.cached_property
    def scores(self) -> LazyTable:
        """One row per variant, benchmark, language and metric, with intervals."""
        return self._table("scores")

    @functools.cached_property
    def noise_floor(self) -> LazyTable:
        """How large the sets are by chance, and how alike those of two halves of the sentences."""
        return self._table("noise_floor")

    @functools.cached_property
    def controls(self) -> LazyTable:
        """One row per control that was drawn beside a set."""
        return self._table("controls")

    @functools.cached_property
    def plot(self) -> Plots:
        """The report's charts: `study.plot.perplexities()`, `.sizes()`, `.sharing()`."""
        from polyneuron.eval.report.numbers.study import read_report
        from polyneuron.pipelines.notebook.plots import Plots

        studies = read_report(self._tables.store).studies
        return Plots(next(study for study in studies if study.model == self.model))

    @functools.cached_property
    def languages(self) -> tuple[str, ...]:
        """The languages of the study, by code."""
        return tuple(sorted(set(self._tables.read("detections")["language"].to_pylist())))

    @functools.cached_property
    def sets(self) -> NeuronSets:
        """Every stored set by its name, controls last; a set in which nothing was found is empty."""
        stored = self._stored_sets(["variant", "kind"])
        counts = stored.group_by(["variant", "kind"], use_threads=False).aggregate([([], "count_all")])
        rows = counts.to_pylist()
        names_of = (exclusive, strict_exclusive, related)
        selected = [str(SHARED), *(str(name(code)) for name in names_of for code in self.languages)]
        sizes = dict.fromkeys(selected, 0)
        controls = {row["variant"]: row["count_all"] for row in rows if row["kind"] in CONTROL_KINDS}
        sizes |= {row["variant"]: row["count_all"] for row in rows if row["variant"] not in controls}
        return NeuronSets(sizes | controls, self._stored_set, len(sizes))

    @functools.cached_property
    def _drawn(self) -> frozenset[str]:
        return frozenset(self.controls.to_arrow()["variant"].to_pylist())

    @functools.lru_cache(maxsize=64)  # noqa: B019  # a study is open as long as the notebook
    def _stored_set(self, name: str) -> NeuronSet:
        rows = self._stored_sets(["layer", "group", "neuron"], name)
        widths, n_layers = self._shape
        return NeuronSet.from_arrow(rows, self.model, widths, n_layers)

    def _stored_sets(self, columns: list[str], name: str | None = None) -> pa.Table:
        units = [unit for table in _UNITS_OF for unit in self._tables.read(table)["unit"].to_pylist()]
        filters = [("model", "=", self.model), ("unit", "in", units)]
        if name is not None:
            filters.append(("variant", "=", name))
        return self._tables.store.read("neuron_sets", filters, columns)

    @functools.cached_property
    def _shape(self) -> tuple[dict[str, int], int]:
        """Neurons per layer of each measured group, and the layers, as one language's impacts have them."""
        units = self._tables.read("detections")["unit"].to_pylist()
        filters = [("model", "=", self.model), ("unit", "in", units), ("language", "=", self.languages[0])]
        rows = self._tables.store.read("impacts", filters, ["layer", "group", "neuron"])
        widest = rows.group_by("group").aggregate([("neuron", "max")]).to_pylist()
        return {row["group"]: row["neuron_max"] + 1 for row in widest}, pc.max(rows["layer"]).as_py() + 1

    def control(self, name: str, seed: int = 0) -> NeuronSet:
        """Random neurons beside a set, as many in each layer and group, outside every set of the selection: the study's own draw
        where it has one of this seed. Raises UnknownName, a KeyError, for a set that is not there, and SetError where too few
        neurons are free."""
        target = self.sets[name]
        if (stored := self.stored_control(name, seed)) is not None:
            return stored
        return matched_control(target, self.all_related(), seed)

    def stored_control(self, name: str, seed: int) -> NeuronSet | None:
        """The random neurons of this seed that the study drew beside a set, fewer where too few were free; None: it drew none."""
        for row in self.controls.to_arrow().to_pylist():
            if (row["control_of"], row["kind"], row["seed"]) == (name, "control", seed):
                return self.sets[row["variant"]]
        return None

    def all_related(self) -> NeuronSet:
        """The neurons related to any language, shared ones among them."""
        return functools.reduce(operator.or_, (self.sets[str(related(code))] for code in self.languages))

    def edit(self, name: str) -> WeightEdit:
        """The change that a variant makes to the model: a set switched off, or trained values. Raises UnknownName, a KeyError,
        for a name that is neither, and SetError for trained values that are gone or damaged."""
        from polyneuron.neuron_core.edits.weight_edit import WeightEdit
        from polyneuron.pipelines.run.ledger import Ledger
        from polyneuron.pipelines.stages.training_job import stored_edit

        trained = self._trained
        if name in trained:
            return stored_edit(Ledger(self._tables.store, self.model), trained[name])
        if name not in self.sets:
            names = [*trained, *(own for own in self.sets if own not in self._drawn)]
            raise UnknownName(f"There is no variant {name!r} of {self.model}; there are {', '.join(names)}")
        return WeightEdit.zero(self.sets[name], name)

    @property
    def _trained(self) -> Mapping[str, str]:
        """The unit of each trained variant."""
        rows = self._tables.read("training").select(["variant", "unit"]).to_pylist()
        return {row["variant"]: row["unit"] for row in rows}

    def neuron(self, name: str | NeuronName, top: int = 10) -> NeuronPage:
        """The page of one neuron, named as in "L11.ffn.1229": impacts, sets, activations, tokens in context, and the tokens that
        it promotes and suppresses; at most `top` of each list. The model's files are read only for tokens that the store lacks;
        where they are gone, a note says so. Raises SetError for a neuron that was not measured."""
        from polyneuron.eval.neurons.facts import facts_of
        from polyneuron.pipelines.notebook.neuron_page import NeuronPage

        named = NeuronName.parse(name) if isinstance(name, str) else name
        return NeuronPage(facts_of(self._tables, named, lambda: self._unloaded, top))

    @functools.cached_property
    def _unloaded(self) -> OpenedModel:
        """The model in its files. Raises as `studied`."""
        from polyneuron.eval.neurons.facts import OpenedModel
        from polyneuron.neuron_core.model.stored_model import StoredModel

        try:
            studied = self.studied
        except (ModelError, StoreError) as error:
            raise type(error)(f"{error.message} (--weights)") from error
        trusted = studied.config.trust_remote_code
        return OpenedModel(
            StoredModel(studied.source, "float32", studied.revision, trusted), studied.tokenizer
        )

    @functools.cached_property
    def base(self) -> TextModel:
        """The model as it is, loaded at the first use and kept. Raises as `studied`."""
        from polyneuron.neuron_core.model.load import load_model
        from polyneuron.pipelines.notebook.text_model import TextModel

        studied = self.studied
        model, tokenizer = load_model(
            studied.source,
            studied.dtype,
            revision=studied.revision,
            trust_remote_code=studied.config.trust_remote_code,
        )
        return TextModel(model, tokenizer, studied.adds_bos)

    @functools.cached_property
    def studied(self) -> StudiedModel:
        """The model without its weights, whose files are those that the study read.

        Raises ModelError when it is no longer where the study read it, or no longer what it was; ConfigError when it needs code
        of its own that nobody here said may run.
        """
        from polyneuron.pipelines.run.studied_model import StudiedModel

        config = self._model_config()
        try:
            studied = StudiedModel.open(config)
        except ModelError as error:
            raise ModelError(
                f"{error.message}. {self.model} may have moved: say where its weights are"
            ) from error
        read = set(self._tables.read("corpora")["weights"].to_pylist())
        if read != {studied.fingerprint}:
            raise ModelError(
                f"The files of {studied.source} are not those that the study of {self.model} read: they were changed since, or "
                "another model lies there. Say where the study's weights are, or run the study again"
            )
        return studied

    def _model_config(self) -> ModelConfig:
        """The model's section of the newest configuration that this study's runs had."""
        store = self._tables.store
        wrote = set(store.read("studies", [("model", "=", self.model)])["run_id"].to_pylist())
        runs = sorted(store.read("runs").to_pylist(), key=lambda row: str(row["started_at"]), reverse=True)
        sections = (
            ModelConfig.model_validate(section)
            for row in runs
            if row["run_id"] in wrote and row["config_json"]
            for section in json.loads(row["config_json"]).get("models", ())
        )
        config = next((each for each in sections if each.label == self.model), None)
        if config is None:
            raise StoreError(f"The store does not say where {self.model} lies: no run has its configuration")
        if config.trust_remote_code and not self._trusted:
            raise ConfigError(
                f"{self.model} comes with Python code of its own, which the study ran. Say that it may run here too: "
                "trust_remote_code=True, or --trust-remote-code"
            )
        if self._weights is None:
            return config
        return config.model_copy(
            update={"path": os.fspath(self._weights), "gguf_package": None, "name": self.model}
        )

    @contextmanager
    def applied(self, change: Change) -> Iterator[TextModel]:
        """Inside, the study's model has the change; after it, it is what it was, bit for bit. Raises as `base`."""
        if change is None:
            yield self.base
            return
        with change.applied(self.base.model):
            yield self.base

    @contextmanager
    def off(self, *sets: str | NeuronSet) -> Iterator[TextModel]:
        """Inside, the neurons of the sets are switched off. Raises UnknownName, a KeyError, for a set that is not there, else as
        `base`."""
        from polyneuron.neuron_core.edits.weight_edit import WeightEdit

        neurons = [self.sets[each] if isinstance(each, str) else each for each in sets]
        with self.applied(
            WeightEdit.zero(functools.reduce(operator.or_, neurons)) if neurons else None
        ) as model:
            yield model
