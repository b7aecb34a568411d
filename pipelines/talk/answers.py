"""Answers side by side: as they come on a terminal, one after the other elsewhere, or as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from polyneuron.eval.report.words.wording import language_name
from polyneuron.neuron_core.common.errors import EngineError, printable
from polyneuron.neuron_core.corpora.contents import language_of
from polyneuron.pipelines.talk.voices import Voice

Stream = Callable[[Voice], Iterator[str]]
"""Yields a voice's answer in pieces."""
_SHOWN_A_SECOND = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What one voice said."""

    voice: Voice
    """Who said it."""
    text: str
    """The answer, without the prompt."""
    language: tuple[str, float] | None
    """By code, with the identifier's probability; None where it is not clear."""

    def language_in_words(self) -> str:
        """The language's English name, or that it is not clear."""
        if self.language is None:
            return "language not clear"
        code, probability = self.language
        return f"{language_name(code)} {probability:.0%}"

    def as_mapping(self) -> dict[str, object]:
        """The same for programs."""
        code, probability = self.language or (None, None)
        return {
            "role": self.voice.role,
            "variant": self.voice.title,
            "n_neurons": self.voice.n_neurons,
            "answer": self.text,
            "language": code,
            "language_probability": probability,
        }


def answered(voices: Sequence[Voice], stream: Stream, console: Console | None) -> list[Answer]:
    """The answers of all voices, shown on `console` meanwhile, unless it is None."""
    done = list[Answer]()
    streams = [
        stream(voice) for voice in voices
    ]  # a prompt that cannot be used is refused before anything is shown
    live = console is not None and console.is_terminal
    with Live(console=console, refresh_per_second=_SHOWN_A_SECOND) if live else nullcontext() as display:
        for voice, pieces in zip(voices, streams, strict=True):
            text = ""
            for piece in pieces:
                text += piece
                if display is not None:
                    display.update(_columns(voices, done, text))
            done.append(Answer(voice=voice, text=text, language=language_of(text)))
            if display is not None:
                display.update(_columns(voices, done))
            elif console is not None:
                _print_plainly(done[-1])
    return done


def require_restored(answers: Sequence[Answer], stream: Stream) -> None:
    """Raises EngineError unless the base model, asked again after all changes, answers as at first."""
    first = answers[0]
    if "".join(stream(first.voice)) != first.text:
        raise EngineError(
            "After the changes were undone, the base model does not answer as before. Report this, with the command"
        )


def as_json(about: Mapping[str, object], answers: Sequence[Answer]) -> str:
    """What was asked, and all answers."""
    return json.dumps(
        {**about, "answers": [answer.as_mapping() for answer in answers]}, ensure_ascii=False, indent=2
    )


def _columns(voices: Sequence[Voice], done: Sequence[Answer], coming: str = "") -> Table:
    table = Table(expand=True)
    for voice in voices:
        neurons = f"\n{voice.n_neurons:,} neurons" if voice.n_neurons else ""
        table.add_column(Text(printable(voice.title) + neurons), ratio=1, overflow="fold")
    texts = [*(answer.text for answer in done), coming][: len(voices)]
    table.add_row(*(Text(_shown(text)) for text in texts))
    table.add_section()
    table.add_row(*(Text(answer.language_in_words(), style="dim") for answer in done))
    return table


def _print_plainly(answer: Answer) -> None:
    voice = answer.voice
    neurons = f"{voice.n_neurons:,} neurons, " if voice.n_neurons else ""
    print(f"{printable(voice.title)} ({neurons}{answer.language_in_words()}):")
    print("\n".join(f"    {line}" for line in _shown(answer.text).split("\n")), flush=True)


def _shown(text: str) -> str:
    """An answer without the empty lines that a broken model may write by dozens, and without what controls a terminal."""
    return re.sub(r"\n\s*\n+", "\n\n", printable(text)).rstrip()
