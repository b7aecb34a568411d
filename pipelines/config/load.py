"""Reads a configuration: a YAML file, then `key.sub=value` overrides; what is wrong is said in one line."""

import difflib
import os
import reprlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.pipelines.config.overrides import override
from polyneuron.pipelines.config.section import Section
from polyneuron.pipelines.config.strict_yaml import parsed_yaml
from polyneuron.pipelines.config.study import NightlyConfig, StudyConfig
from polyneuron.pipelines.config.transfer import TransferConfig

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
"""The shipped configurations."""

KINDS = tuple(kind.model_fields["kind"].default for kind in (StudyConfig, NightlyConfig, TransferConfig))
"""What a configuration is of; each is the name of the command that takes it."""

_MOST_BYTES = 1 << 20
_MOST_MISTAKES = 5
_LONGEST_KEY = 80


_Config = TypeVar("_Config", StudyConfig, NightlyConfig, TransferConfig)


def with_overrides(config: _Config, overrides: Sequence[str]) -> _Config:
    """The configuration with `key.sub=value` overrides on top.

    Raises:
        ConfigError: an override of another form. pydantic.ValidationError: a value that does not fit.
    """
    data = config.model_dump(mode="json")
    override(data, overrides, type(config))
    return type(config).model_validate(data)


def load(kind: type[_Config], path: str | Path, overrides: Sequence[str] = ()) -> _Config:
    """Reads a configuration file and applies `key.sub=value` overrides; see `overrides.override`.

    A name without a folder, such as `study_smollm2`, is one of the shipped files.

    Raises:
        ConfigError: an unreadable file, an unknown key (the nearest valid one is named), an unfit value.
    """
    file = Path(path)
    shipped = CONFIGS / f"{file.name.removesuffix('.yaml')}.yaml"
    if file.parent == Path() and not os.path.exists(file) and os.path.exists(shipped):
        file = shipped
    data = parsed_yaml(_text_of(file), f"The configuration {file}")
    if not isinstance(data, dict):
        raise ConfigError(f"The configuration {file} must be a mapping, not a {type(data).__name__}")
    _require_kind(data.get("kind"), kind, path)
    return from_mapping(kind, data, overrides, str(file))


def from_mapping(kind: type[_Config], data: dict[str, Any], overrides: Sequence[str], origin: str) -> _Config:
    """The configuration that `data`, as a file would hold it, is with overrides on top; `origin` names it in messages.

    Raises:
        ConfigError: an unknown key (the nearest valid one is named), an unfit value.
    """
    override(data, overrides, kind)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        overridden = [text.partition("=")[0] for text in overrides]
        mistakes = error.errors(include_url=False, include_context=False)
        lines = [_explain(item, kind, origin, overridden) for item in mistakes[:_MOST_MISTAKES]]
        if n_more := len(mistakes) - len(lines):
            lines.append(f"and {n_more:,} more mistakes")
        raise ConfigError("\n".join(lines)) from None


load_study = partial(load, StudyConfig)
load_nightly = partial(load, NightlyConfig)
load_transfer = partial(load, TransferConfig)


def _require_kind(named: object, kind: type[Section], file: str | Path) -> None:
    """Raises ConfigError, with the command to use instead, where a file is the configuration of something else."""
    wanted = kind.model_fields["kind"].default
    if named == wanted:
        return
    if named in KINDS:
        raise ConfigError(
            f"{file} is a {named} configuration, not a {wanted} configuration: run polyneuron {named} --config {file}"
        )
    has = (
        "does not say what it configures" if named is None else f"has the unknown kind {reprlib.repr(named)}"
    )
    raise ConfigError(f"{file} {has}: begin it with kind: {wanted}")


def _text_of(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        names = ", ".join(sorted(shipped.stem for shipped in CONFIGS.glob("*.yaml")))
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"The configuration {file} cannot be read: {reason}. Shipped ones: {names}"
        ) from error
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"The configuration {file} has more than {_MOST_BYTES:,} bytes: name another file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"The configuration {file} is not text in UTF-8 (byte {error.start})") from error


def _explain(item: Any, kind: type[Section], source: str, overridden: list[str]) -> str:
    location = [_short(str(part)) for part in item["loc"]]
    where = ".".join(location)
    is_overridden = any(f"{where}.".startswith(f"{key}.") for key in overridden)
    origin = f"override {where}" if is_overridden else source
    if item["type"] == "extra_forbidden":
        valid = _keys_at(kind, item["loc"][:-1])
        near = difflib.get_close_matches(location[-1], valid, n=1, cutoff=0.5)
        nearest = ".".join([*location[:-1], *near])
        return f"{origin}: unknown key {where}; " + (
            f"did you mean {nearest}?" if near else f"valid keys: {', '.join(valid)}"
        )
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "string_type" and isinstance(item["input"], bool | int | float):
        message += ". YAML reads no, yes, on, off and numbers as values of their own: put the word in quotes, as 'no'"
    given = "" if isinstance(item["input"], dict | Section) else f" (got {reprlib.repr(item['input'])})"
    return f"{origin}: {where + ': ' if where else ''}{message}{given}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}…"


def _keys_at(section: type[Section], location: tuple[Any, ...]) -> list[str]:
    for part in location:
        if part not in section.model_fields:
            continue  # the number of an entry, or a key that the user chose
        annotation = section.model_fields[part].annotation
        candidates = (annotation, *getattr(annotation, "__args__", ()))
        nested = [kind for kind in candidates if isinstance(kind, type) and issubclass(kind, Section)]
        if not nested:
            return []
        section = nested[0]
    return list(section.model_fields)
