"""Answers as people and programs read them."""

import io
import json
import re

import pytest
from rich.console import Console

from polyneuron.neuron_core.common.errors import ConfigError, EngineError
from polyneuron.pipelines.talk.answers import answered, as_json, require_restored
from polyneuron.pipelines.talk.voices import Voice

ENGLISH = "It was a bright cold day in April, and the clocks were striking thirteen."
VOICES = [
    Voice(role="base", title="base", n_neurons=0, change=None),
    Voice(role="variant", title="without [bold]x", n_neurons=1234, change=None),
]
SAID = {"base": ENGLISH, "without [bold]x": "[/red] \x1b[31m\n\n\n \n\n1"}


def stream(voice: Voice):
    yield from SAID[voice.title]


def test_a_terminal_shows_them_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    written = io.StringIO()
    answered(VOICES, stream, Console(file=written, force_terminal=True, width=60, color_system=None))
    last = re.sub(r"\x1b\[\?25[lh]", "", written.getvalue().rsplit("\x1b[2K", 1)[-1])  # but for the cursor
    assert "without [bold]x" in last and "1,234 neurons" in last and "English" in last
    assert "[/red] \\x1b[31m" in last and "\x1b" not in last
    assert max(map(len, last.splitlines())) <= 60
    rows = [line.split("│")[1:3] for line in last.splitlines() if line.count("│") == 3]
    assert " ".join(row[0].strip() for row in rows).startswith(ENGLISH)


def test_elsewhere_they_follow_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    answered(VOICES, stream, Console(file=io.StringIO()))
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("base (English ") and out[0].endswith("%):") and out[1] == f"    {ENGLISH}"
    assert out[2] == "without [bold]x (1,234 neurons, language not clear):"
    assert out[3:] == ["    [/red] \\x1b[31m", "    ", "    1"]


def test_programs_get_all(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(as_json({"prompt": "é"}, answered(VOICES, stream, None)))
    assert capsys.readouterr().out == "" and found["prompt"] == "é"
    base, variant = found["answers"]
    assert base["answer"] == ENGLISH and base["language"] == "en" and base["language_probability"] > 0.9
    assert variant == {
        "role": "variant",
        "variant": "without [bold]x",
        "n_neurons": 1234,
        "answer": SAID["without [bold]x"],
        "language": None,
        "language_probability": None,
    }


def test_a_base_model_that_changed_is_an_error() -> None:
    answers = answered(VOICES, stream, None)
    require_restored(answers, stream)
    with pytest.raises(EngineError, match="does not answer as before"):
        require_restored(answers, lambda voice: iter("else"))


def test_a_prompt_is_refused_before_anything_is_shown() -> None:
    written = io.StringIO()

    def refuse(voice: Voice):
        raise ConfigError("empty")

    with pytest.raises(ConfigError):
        answered(VOICES, refuse, Console(file=written, force_terminal=True))
    assert written.getvalue() == ""
