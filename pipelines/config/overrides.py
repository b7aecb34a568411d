"""Overrides: `key.sub=value` on top of what a configuration file holds."""

import re
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.pipelines.config.section import Section
from polyneuron.pipelines.config.strict_yaml import parsed_yaml

_SOURCE = re.compile(r"models\.([0-9]{1,6})\.(?:path|gguf_package)")


def override(data: dict[str, Any], overrides: Sequence[str], kind: type[Section]) -> None:
    """Changes `data`, the mapping of a configuration of this kind. Values are YAML, entries of a list go by number, and where a
    list belongs its entries may stand between commas. An entry of `models` that gets another path is another model: of the
    old one its dtype alone is kept.

    Raises:
        ConfigError: an override of another form, or one that leads nowhere.
    """
    models = data.get("models")
    for text in overrides:
        source = _SOURCE.fullmatch(text.partition("=")[0])
        if source and isinstance(models, list) and int(source[1]) < len(models):
            old = models[int(source[1])]
            models[int(source[1])] = (
                {"dtype": old["dtype"]} if isinstance(old, dict) and "dtype" in old else {}
            )
    for text in overrides:
        _apply(data, text, kind)


def _apply(data: dict[str, Any], override: str, kind: type[Section]) -> None:
    key, equals, text = override.partition("=")
    if not equals or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key):
        raise ConfigError(f"The override {override!r} is not of the form key.sub=value")
    *parents, last = key.split(".")
    node: Any = data
    for part in parents:
        node = node[_index(node, part, key)] if isinstance(node, list) else node.setdefault(part, {})
        if not isinstance(node, dict | list):
            raise ConfigError(f"The override {override!r}: {part} holds a value, not a section")
    value = parsed_yaml(text, f"The value of the override {override!r}")
    if _is_a_list(kind, [*parents, last]) and isinstance(value, str | int | float):
        # the text itself, where YAML reads a number or a truth value: no is Norwegian
        value = [entry.strip() for entry in (value if isinstance(value, str) else text).split(",")]
    node[_index(node, last, key) if isinstance(node, list) else last] = value


def _index(node: list[Any], part: str, key: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", part) or int(part) >= len(node):
        those = f" (0 to {len(node) - 1})" if node else ""
        raise ConfigError(f"The override of {key}: {part} is not one of the {len(node)} entries{those}")
    return int(part)


def _is_a_list(kind: type[Section], parts: Sequence[str]) -> bool:
    """Whether a list belongs at a place, and no text."""
    here: list[Any] = [kind]
    for part in parts:
        here = [inner for annotation in here for inner in _inside(annotation, part)]
    return str not in here and any(get_origin(annotation) is tuple for annotation in here)


def _inside(annotation: Any, part: str) -> Iterator[Any]:
    """The types that `part` of a section, list or mapping may have."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        if part in annotation.model_fields:
            yield from _alternatives(annotation.model_fields[part].annotation)
    elif get_origin(annotation) is tuple:
        yield from _alternatives(get_args(annotation)[0])
    elif get_origin(annotation) is dict:
        yield from _alternatives(get_args(annotation)[1])


def _alternatives(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _alternatives(part)
    else:
        yield annotation
