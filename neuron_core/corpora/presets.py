"""Named corpora, and what a plain name, path or URL in a configuration means."""

import re
from collections.abc import Mapping
from pathlib import Path

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.corpora.language_files import SUFFIXES
from polyneuron.neuron_core.corpora.sources import CorpusSource

PRESETS: Mapping[str, CorpusSource] = {
    "embedded": CorpusSource(kind="embedded"),
    # OSCAR 23.01 and MADLAD-400 come with loading code, which is never run: their files are read as they are.
    "oscar": CorpusSource(
        kind="files",
        path="hf://datasets/oscar-corpus/OSCAR-2301/{language}_meta",
        text_column="content",
        running_text=True,
    ),
    "culturax": CorpusSource(
        kind="hub",
        path="uonlp/CulturaX",
        config="{language}",
        revision="6a8734bc69fefcbb7735f4f9250f43e4cd7a442e",
        running_text=True,
    ),
    "madlad400": CorpusSource(
        kind="files",
        path="hf://datasets/allenai/MADLAD-400/data/{language}/{language}_clean_0000.jsonl.gz",
        running_text=True,
        escaped_newlines=True,
    ),
    "wikipedia": CorpusSource(
        kind="hub",
        path="wikimedia/wikipedia",
        config="20231101.{language}",
        revision="b04c8d1ceb2f5cd4588862100d08de323dccfbaa",
        running_text=True,
    ),
    # Paper A's own detection set: 1000 OSCAR sentences a language, one a line. The id is in the README of
    # chenyuxin1999/Abstract_Thought (cbcdb23); its detect.py reads <language>.txt. Where in the dataset that
    # file lies was not seen, so it is looked for in every folder.
    "abstract-thought": CorpusSource(
        kind="files", path="hf://datasets/Chen1999/Detection", data_files="**/{language}.*"
    ),
}
"""OSCAR and CulturaX are gated: accept their terms on the hub and set HF_TOKEN. CulturaX and Wikipedia are pinned to a
commit. No commit of the others could be verified: `sources.pin` takes the newest on the first run, and the store keeps
which one that was."""

_DATASET_ID = re.compile(r"^[\w.-]+/[\w.-]+(?::[^:/]+){0,2}$", re.ASCII)
_MOST_LISTED = 8
_LOOKS_LIKE_A_PATH = re.compile(r"^[/.~]|^[A-Za-z]:\\|[*?\[]|/$")


def source_of(name_or_path: str) -> CorpusSource:
    """The source that a configuration names. A preset; a URL (`s3://…`); a file, folder or pattern, whose texts are
    sentences; or a hub dataset `owner/name`, `owner/name:config` or `owner/name:config:split`, whose texts are split into
    sentences. A name in a folder that is here, and that is not in it, is refused
    as a slip; `hub:` in front makes it a dataset whatever else it looks like. `{language}` stands for the language code.
    Raises CorpusError for none of these."""
    name = name_or_path.strip()
    if name in PRESETS:
        return PRESETS[name]
    if name.startswith("hub:"):
        return _hub(name.removeprefix("hub:"))
    if "://" in name or _LOOKS_LIKE_A_PATH.search(name) or name.lower().endswith(SUFFIXES):
        return CorpusSource(kind="files", path=name)
    if name and Path(name.split("{language}")[0] or "?").exists():
        return CorpusSource(kind="files", path=name)
    if _DATASET_ID.match(name.replace("{language}", "language")):
        beside = Path(name).parent
        if ":" not in name and beside.is_dir():
            raise CorpusError(
                f"There is no {name} here: the folder {beside} holds {_listed(beside)}. If the hub's dataset {name} is meant, "
                f"write hub:{name}."
            )
        return _hub(name)
    known = ", ".join(PRESETS)
    raise CorpusError(
        f"There is no corpus preset {name_or_path!r}; there are {known}. A source can also be a file, a folder, a URL, or a "
        "dataset id owner/name (hub:name where it has no owner)."
    )


def _listed(folder: Path) -> str:
    """The first names in a folder, in words."""
    names = sorted(path.name for path in folder.iterdir())
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more or "nothing"


def _hub(name: str) -> CorpusSource:
    dataset, _, rest = name.partition(":")
    config, _, split = rest.partition(":")
    return CorpusSource(
        kind="hub", path=dataset, config=config or None, split=split or "train", running_text=True
    )
