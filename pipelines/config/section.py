"""What all sections of a configuration have in common: which values no setting may have."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

_LARGEST = 2**31 - 1
"""Numbers above it fit neither seeds of libraries nor columns of the store."""


class Section(BaseModel):
    """A section of the configuration. Keys it does not declare are refused, and values that no setting has: endless or
    excessive numbers, truth values for numbers, empty text, and text with control characters."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        wanted = str(cls.model_fields[str(info.field_name)].annotation)
        takes_numbers = (
            ("int" in wanted or "float" in wanted) and "bool" not in wanted and "str" not in wanted
        )
        given = value if isinstance(value, list | tuple) else (value,)
        if takes_numbers and any(isinstance(part, bool) for part in given):
            raise ValueError("yes, no, on, off, true and false are no numbers")
        return value

    @field_validator("*")
    @classmethod
    def _of_use(cls, value: object) -> object:
        for part in _scalars_of(value):
            if isinstance(part, int | float) and abs(part) > _LARGEST:
                raise ValueError(f"numbers go up to {_LARGEST:,}")
            if isinstance(part, str) and not part.strip():
                raise ValueError("empty text names nothing: leave the key out, or name something")
            if isinstance(part, str) and any(unicodedata.category(char) == "Cc" for char in part):
                raise ValueError("the text holds a control character, such as a tab, a line break or NUL")
        return value


def _scalars_of(value: object) -> Iterator[object]:
    """The values inside tuples and dictionaries, keys included; sections look after their own."""
    parts = chain(value, value.values()) if isinstance(value, dict) else value
    if isinstance(parts, tuple | chain):
        for part in parts:
            yield from _scalars_of(part)
    else:
        yield value


def _listed_once(listed: tuple[object, ...] | None) -> tuple[object, ...] | None:
    """What is listed, by itself or by its `name`; raises ValueError where something is listed twice."""
    counts = Counter(str(getattr(entry, "name", entry)) for entry in listed or ())
    if repeated := sorted(name for name, count in counts.items() if count > 1):
        raise ValueError(f"{', '.join(repeated)} is listed twice")
    return listed


def _folder_or_url(text: str) -> str:
    """A place on this machine as a path, with `~` for the home folder and `file://` taken away; another URL as it is."""
    place = os.path.expanduser(text.removeprefix("file://").removeprefix("local://"))
    if place.startswith("~"):
        raise ValueError("there is no such home folder: write the path out")
    if not place:
        raise ValueError("the URL names no folder")
    return place


Once = AfterValidator(_listed_once)
"""Of what is listed nothing may be listed twice, by itself or by its `name`."""
Place = Annotated[str, AfterValidator(_folder_or_url)]
"""Where something is written: a folder or file of this machine, or a URL."""
Seed = Annotated[int, Field(ge=0)]
