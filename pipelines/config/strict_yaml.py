"""Reads YAML as a configuration may use it: plain values, lists and mappings, each key once, of a size that people write."""

import re
from typing import Any, ClassVar

import yaml

from polyneuron.neuron_core.common.errors import ConfigError

_MOST_VALUES = 100_000
_OF_ANOTHER_BASE = re.compile(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")
_CORE = ("null", "bool", "int", "float", "str", "seq", "map")
_DATE = "tag:yaml.org,2002:timestamp"


def parsed_yaml(text: str, what: str) -> Any:
    """The one document of `text`, made of dictionaries, lists, strings, numbers and None. Dates stay text, as they were
    written. what: names the text in messages.

    Raises:
        ConfigError: no YAML, several documents, a key that stands twice, a tag, too many values, too deep.
    """
    try:
        loader = _StrictLoader(text)
        try:
            data = loader.get_single_data()
        finally:
            loader.dispose()
    except RecursionError:
        raise ConfigError(f"{what} is nested too deeply") from None
    except ConfigError as error:
        raise ConfigError(f"{what}: {error.message}") from None
    except (
        Exception
    ) as error:  # PyYAML lets what it meets on the way escape: ValueError, IndexError, KeyError …
        raise ConfigError(f"{what} is not YAML: {' '.join(str(error).split())}") from error
    if _is_larger_than(data, _MOST_VALUES):
        raise ConfigError(
            f"{what} has more than {_MOST_VALUES:,} values, counting what aliases (*name) repeat"
        )
    return data


class _StrictLoader(yaml.SafeLoader):
    """Refuses what would be read in silence as something else: a second value of a key, or a tag that makes another type."""

    yaml_constructors: ClassVar = {
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag in {f"tag:yaml.org,2002:{name}" for name in _CORE}
    }
    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _DATE]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._flattened: dict[int, yaml.Node] = {}

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As PyYAML; what cannot be read has its line."""
        if (
            isinstance(node, yaml.ScalarNode)
            and node.style is None
            and _OF_ANOTHER_BASE.fullmatch(node.value)
        ):
            raise ConfigError(
                f"line {node.start_mark.line + 1} has {node.value}, which YAML reads as a number of base 60 or 8: write the "
                "number itself, or put text in quotes"
            )
        try:
            return super().construct_object(node, deep=deep)
        except (ConfigError, RecursionError, yaml.YAMLError):
            raise
        except Exception as error:  # ValueError, IndexError, KeyError …, as the readers of numbers have it
            raise ConfigError(
                f"line {node.start_mark.line + 1} holds no {node.tag.rpartition(':')[2]}: {error}"
            ) from error

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """As PyYAML, which merges `<<` into the node itself; after that a key may stand twice, so keys are looked at before."""
        first_lines: dict[tuple[str, str], int] = {}
        seen, self._flattened[id(node)] = id(node) in self._flattened, node
        for key, _ in () if seen else node.value:
            line = key.start_mark.line + 1
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in first_lines:
                raise ConfigError(
                    f"the key {key.value} stands twice, in lines {first_lines[name]} and {line}: keep one"
                )
            if name is not None:
                first_lines[name] = line
        super().flatten_mapping(node)
        if len(node.value) > _MOST_VALUES:
            raise ConfigError(f"line {node.start_mark.line + 1} merges more than {_MOST_VALUES:,} values")


def _refuse_tag(loader: _StrictLoader, node: yaml.Node) -> None:
    raise ConfigError(
        f"line {node.start_mark.line + 1} has the tag {node.tag.replace('tag:yaml.org,2002:', '!!')}, which configurations "
        "do not use: write the value without it"
    )


_StrictLoader.add_constructor(None, _refuse_tag)


def _is_larger_than(data: Any, most: int) -> bool:
    """Whether a tree has more nodes than `most`. Aliases make a few lines of YAML a tree without end."""
    waiting, n_seen = [data], 0
    while waiting and n_seen <= most:
        node = waiting.pop()
        n_seen += 1
        waiting += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return n_seen > most
