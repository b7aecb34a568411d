"""`polyneuron chat`: lines from a terminal or a pipe, each answered by all voices, until the input ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console

from polyneuron.neuron_core.common.errors import ConfigError, PolyneuronError
from polyneuron.pipelines.run.ending import print_error
from polyneuron.pipelines.talk.answers import answered
from polyneuron.pipelines.talk.voices import Wanted, set_with_number, voices

if TYPE_CHECKING:
    from polyneuron.pipelines.notebook.study import OpenedStudy
    from polyneuron.pipelines.notebook.text_model import Prompt
    from polyneuron.pipelines.talk.speakers import Speak

_HELP = """/off SET …           switch these sets off, in place of what is changed now
/scale SET=FACTOR …  multiply their activations, likewise
/set SET=VALUE …     hold the activations of their ffn neurons, likewise
/off                 change nothing
/sets                list the sets
/new                 forget what was said
Ctrl-D ends."""


class Conversation:
    """Voices that each remember what they were told and what they said, where the model has a chat template; else every line is
    text to go on from."""

    def __init__(self, study: OpenedStudy, wanted: Wanted) -> None:
        """Raises as `voices`."""
        self._study, self._console = study, Console()
        self._ask(wanted)

    def run(self, speak: Speak) -> None:
        """Reads lines until the input ends. What cannot be used is said, and the next line is read."""
        self._speak, self._templated = speak, bool(self._study.studied.tokenizer.chat_template)
        how = (
            "in its chat template"
            if self._templated
            else "which has no chat template: it goes on from each line"
        )
        print(f"{self._study.model}, {how}. /help lists commands.")
        for line in _lines():
            try:
                self._command(line) if line.startswith("/") else self._answer(line)
            except PolyneuronError as error:
                print_error(error.message)

    def _ask(self, wanted: Wanted) -> None:
        self._voices, self._wanted = voices(self._study, wanted), wanted
        self._said: list[list[dict[str, str]]] = [[] for _ in self._voices]

    def _answer(self, line: str) -> None:
        told = [[*said, {"role": "user", "content": line}] for said in self._said]
        prompts: Sequence[Prompt] = told if self._templated else [line] * len(told)
        spoken = dict(zip(self._voices, prompts, strict=True))
        answers = answered(self._voices, lambda voice: self._speak(voice, spoken[voice]), self._console)
        for said, answer in zip(told, answers, strict=True):
            said.append({"role": "assistant", "content": answer.text})
        self._said = told

    def _command(self, line: str) -> None:
        name, *words = line[1:].split() or [""]
        nothing = replace(self._wanted, off=(), scaled=(), held=())
        match name:
            case "off":
                self._ask(replace(nothing, off=words))
            case "scale":
                self._ask(replace(nothing, scaled=[set_with_number(word, "/scale") for word in words]))
            case "set":
                self._ask(replace(nothing, held=[set_with_number(word, "/set") for word in words]))
            case "new":
                self._ask(self._wanted)
            case "sets":
                controls = set(self._study.controls.to_arrow()["variant"].to_pylist())
                print(
                    ", ".join(
                        name for name, n in self._study.sets.sizes.items() if n and name not in controls
                    )
                )
            case "help":
                print(_HELP)
            case _:
                raise ConfigError(f"There is no command /{name}; /help lists those that there are")


def _lines() -> Iterator[str]:
    """Lines with something in them; a terminal is asked for each, where they can be edited and called back."""
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    with suppress(ImportError):  # Windows has none
        import readline  # noqa: F401
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            print()
            return
        if line:
            yield line
