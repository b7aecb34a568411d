"""Options that several commands share, and how each reads its configuration or opens a stored study."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.pipelines.run.ending import keep_tracebacks_beside

if TYPE_CHECKING:
    from polyneuron.pipelines.config.study import NightlyConfig, StudyConfig
    from polyneuron.pipelines.config.transfer import TransferConfig
    from polyneuron.pipelines.notebook.study import OpenedStudy

    _Config = TypeVar("_Config", StudyConfig, NightlyConfig, TransferConfig)


def from_home(path: Path | None) -> Path | None:
    """A path that an option names, with `~` for the home folder: a shell puts it in only at the start of a word, and not in
    --out=~/study. Raises ConfigError where there is no such home folder."""
    try:
        return path and path.expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{path}: there is no such home folder; write the path out") from error


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="YAML configuration: a path, or the name of a shipped one.", callback=from_home
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write to this file.", callback=from_home)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="key.sub=value overrides of the configuration; lists with commas: languages=en,sw."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved configuration and the plan, then stop.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Tell results and errors alone.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Tell what libraries say, too.")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", "-m", help="A hub name, a folder, a .gguf file or a package with one; repeatable."
    ),
]
Languages = Annotated[
    str | None,
    typer.Option(help="Codes with commas, such as en,th,sw; those of the embedded corpus if left out."),
]
Corpus = Annotated[
    str | None,
    typer.Option(
        help="A preset, folder, file, URL or dataset with sentences; the embedded corpus if left out."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the store, of --model or --demo; stores/MODEL if left out.", callback=from_home
    ),
]
Train = Annotated[
    str | None,
    typer.Option(help="Also train neurons of these languages, on the corpus, or else as the paper does."),
]
Benchmarks = Annotated[
    str | None, typer.Option(help="Also judge by these benchmarks, with commas; polyneuron ls benchmarks.")
]
StoreOption = Annotated[str, typer.Option("--store", help="The store's folder or URL.")]
STORE = "stores/smollm2"
"""Where the quick study puts its results."""
ModelInStore = Annotated[
    str | None, typer.Option("--model", help="The model's name in the store, where it holds several.")
]
Weights = Annotated[
    str | None,
    typer.Option("--weights", help="Where the model lies now, if no longer where the study read it."),
]
Trusted = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let Python code run that comes with the model.")
]


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyInStore:
    """Which study of a store a command is about, and where its model is read."""

    store: StoreOption = STORE
    """The store."""
    model: ModelInStore = None
    """The model, where the store holds several."""
    weights: Weights = None
    """Where the model lies now."""
    trust_remote_code: Trusted = False
    """Whether the model's own code may run."""

    def opened(self) -> OpenedStudy:
        """The study; tracebacks of what nobody foresaw are kept beside it from now on. Raises as `open_study`."""
        from polyneuron.pipelines.notebook.study import open_study

        keep_tracebacks_beside(self.store)
        return open_study(
            self.store, self.model, weights=self.weights, trust_remote_code=self.trust_remote_code
        )


DEMOS = {"": "study_smollm2", "gemma": "study_gemma3_270m"}
"""What may follow --demo, and the shipped configuration that it stands for."""
_TERMS = "The weights of Gemma 3 are under Google's own terms: https://ai.google.dev/gemma/terms"


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyOptions:
    """Which study a command is about: a configuration, a model, or a demonstration."""

    config: ConfigOption = None
    """A configuration file."""
    model: Models = None
    """Models, in place of a file."""
    languages: Languages = None
    """Languages of those models."""
    corpus: Corpus = None
    """Where their sentences come from."""
    out: Out = None
    """Where results go."""
    train: Train = None
    """Languages to train for."""
    benchmarks: Benchmarks = None
    """Benchmarks to judge by."""
    demo: Annotated[
        bool,
        typer.Option("--demo", help="The quick study of SmolLM2-135M; --demo gemma: of Gemma 3 270M."),
    ] = False
    """Whether to take a shipped study."""

    def study(self, overrides: Sequence[str], command: str = "study") -> StudyConfig:
        """The study that is meant, with overrides on top.

        Raises:
            ConfigError: nothing says which study, or more than one thing does; and as `config.load.load`.
        """
        from polyneuron.pipelines.config.load import load_study

        demo, overrides = self._demo_of(overrides)
        ways = {"--config": self.config, "--model": self.model, "--demo": demo}
        named = [way for way, value in ways.items() if value]
        of_a_model = [
            f"--{name}"
            for name in ("languages", "corpus", "out", "train", "benchmarks")
            if getattr(self, name)
        ]
        if not named:
            raise ConfigError(
                f"Which study? Name a model, as in polyneuron {command} --model Qwen/Qwen2.5-0.5B --languages en,th,sw; or a "
                f"configuration (--config FILE); or take the quick one: polyneuron {command} --demo"
            )
        if len(named) > 1:
            raise ConfigError(f"{' and '.join(named)} name a study each: give one of them")
        if demo and self.out is not None:
            overrides = [f"store={json.dumps(str(self.out))}", *overrides]
            of_a_model.remove("--out")
        if of_a_model and not self.model:
            raise ConfigError(
                f"{', '.join(of_a_model)} describe the study of --model; {named[0]} has all of it already: change it with "
                "overrides, such as languages=en,sw corpus.source=DIR store=DIR"
            )
        if self.model:
            return _kept_beside(self._of_models(overrides))
        if demo == DEMOS["gemma"]:
            from polyneuron.pipelines.run.progress import say

            say(_TERMS)
        return loaded(load_study, self.config or demo or "", overrides)

    def _demo_of(self, overrides: Sequence[str]) -> tuple[str | None, Sequence[str]]:
        """The configuration of the demonstration, and the overrides without its name."""
        if not self.demo:
            return None, overrides
        first = overrides[0] if overrides else ""
        if "=" in first or not first:
            return DEMOS[""], overrides
        if first not in DEMOS:
            raise ConfigError(f"There is no demonstration {first!r}: say --demo or --demo gemma")
        return DEMOS[first], overrides[1:]

    def as_mapping(self) -> dict[str, Any]:
        """The study of `model`, as a configuration file would hold it. Raises what `OneLine.as_mapping` raises."""
        from polyneuron.pipelines.config.one_line import OneLine

        return OneLine(
            models=self.model or (),
            languages=_listed(self.languages),
            corpus=self.corpus,
            out=None if self.out is None else str(self.out),
            train=_listed(self.train),
            benchmarks=_listed(self.benchmarks),
        ).as_mapping()

    def _of_models(self, overrides: Sequence[str]) -> StudyConfig:
        from polyneuron.pipelines.config.load import from_mapping
        from polyneuron.pipelines.config.study import StudyConfig

        return from_mapping(StudyConfig, self.as_mapping(), overrides, "the options")


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """`command` as a command line reads it: in place of a record of options that it takes, each of the record's fields."""
    signature = inspect.signature(command, eval_str=True)
    records: dict[str, Any] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if is_dataclass(parameter.annotation)
    }

    def run(**values: Any) -> None:
        for name, record in records.items():
            values[name] = record(**{field.name: values.pop(field.name) for field in fields(record)})
        command(**values)

    parameters = [
        each
        for name, parameter in signature.parameters.items()
        for each in (_options_of(records[name]) if name in records else (parameter,))
    ]
    return _with_parameters(run, parameters, command)


def of_a_study(command: Callable[..., None], name: str) -> Callable[..., None]:
    """`command`, whose first argument is a study, as a command `name` that takes `StudyOptions` and overrides in its place."""
    shared = _options_of(StudyOptions)
    own = [*inspect.signature(command).parameters.values()][1:]

    def run(overrides: list[str] | None, **values: Any) -> None:
        options = StudyOptions(**{option.name: values.pop(option.name) for option in shared})
        command(options.study(overrides or (), name), **values)

    overrides_last = inspect.Parameter(
        "overrides", inspect.Parameter.KEYWORD_ONLY, annotation=Overrides, default=None
    )
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*shared, *own)] + [
        overrides_last
    ]
    command.__name__ = name
    return _with_parameters(run, parameters, command)


def heard(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with -q and -v, which say how much it tells."""
    signature = inspect.signature(command, eval_str=True)

    def run(quiet: bool, verbose: bool, **values: Any) -> None:
        from polyneuron.pipelines.run.progress import set_loudness

        if quiet and verbose:
            raise ConfigError("--quiet and --verbose ask for opposite things: give one of them")
        set_loudness(quiet=quiet, verbose=verbose)
        command(**values)

    flags = {"quiet": Quiet, "verbose": Verbose}
    parameters = [
        *signature.parameters.values(),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=False)
            for name, annotation in flags.items()
        ),
    ]
    return _with_parameters(run, parameters, command)


def _options_of(record: type) -> list[inspect.Parameter]:
    """The fields of a record of options."""
    annotations = get_type_hints(record, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=annotations[field.name],
            default=field.default,
        )
        for field in fields(record)
    ]


def _with_parameters(
    run: Callable[..., None], parameters: Sequence[inspect.Parameter], named_as: Callable[..., None]
) -> Callable[..., None]:
    """`run` as a command line reads it: with these parameters, and the name and description of another function."""
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__name__, run.__doc__ = named_as.__name__, named_as.__doc__
    return run


def loaded(
    load: Callable[[str | Path, Sequence[str]], _Config], config: str | Path, overrides: Sequence[str] | None
) -> _Config:
    """The configuration with its overrides; from here on a traceback is kept beside its store."""
    return _kept_beside(load(config, overrides or ()))


def _kept_beside(config: _Config) -> _Config:
    keep_tracebacks_beside(config.store)
    return config


def _listed(text: str | None) -> list[str]:
    """What stands between commas."""
    return [] if text is None else [part.strip() for part in text.split(",")]
