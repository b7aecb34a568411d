"""`polyneuron say` and `chat`: a study's model answers as it is, changed, and changed at random neurons."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from polyneuron.pipelines.commands.options import StudyInStore, spread

if TYPE_CHECKING:
    from polyneuron.pipelines.talk.voices import Wanted

Off = Annotated[
    list[str] | None, typer.Option("--off", metavar="SET", help="Switch this set off; repeatable.")
]
Scale = Annotated[
    list[str] | None,
    typer.Option("--scale", metavar="SET=FACTOR", help="Multiply this set's activations; repeatable."),
]
Hold = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="SET=VALUE", help="Hold this set's ffn activations at a number; repeatable."
    ),
]
Others = Annotated[
    list[str] | None,
    typer.Option(
        "--variant", metavar="NAME", help="Also ask this variant, such as a trained one; repeatable."
    ),
]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="The longest answer.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the control's random neurons.")]


class EngineName(StrEnum):
    """Which library computes answers."""

    hf = "hf"
    vllm = "vllm"


Engine = Annotated[EngineName, typer.Option("--engine", help="transformers, or vLLM.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class TalkOptions(StudyInStore):
    """Who talks: a study's model, what is changed in it, and what computes the answers."""

    off: Off = None
    """Sets that are switched off."""
    scale: Scale = None
    """Sets whose activations are multiplied, with the factors."""
    hold: Hold = None
    """Sets whose activations are held, with the numbers."""
    variant: Others = None
    """Variants that answer too."""
    seed: Seed = 0
    """Of the control."""
    engine: Engine = EngineName.hf
    """What computes."""

    def wanted(self) -> "Wanted":
        """What is to be changed. Raises ConfigError for a set without a number where one is due."""
        from polyneuron.pipelines.talk.voices import Wanted, set_with_number

        return Wanted(
            off=self.off or (),
            scaled=[set_with_number(each, "--scale") for each in self.scale or ()],
            held=[set_with_number(each, "--set") for each in self.hold or ()],
            variants=self.variant or (),
            seed=self.seed,
        )


class SpokenFormat(StrEnum):
    """How answers are written."""

    text = "text"
    json = "json"


@spread
def say(
    prompt: Annotated[str, typer.Argument(help="Text that the model goes on from.")],
    *,
    talk: TalkOptions,
    message: Annotated[
        bool, typer.Option("--message", help="The prompt is a message in the model's chat template.")
    ] = False,
    max_tokens: MaxTokens = 24,
    form: Annotated[SpokenFormat, typer.Option("--format", help="text, or JSON for programs.")] = (
        SpokenFormat.text
    ),
) -> None:
    """Ask a study's model, its changed self, and a control with random neurons changed, side by side."""
    from rich.console import Console

    from polyneuron.pipelines.run.chatter import quietly
    from polyneuron.pipelines.talk.answers import answered, as_json, require_restored
    from polyneuron.pipelines.talk.speakers import speaking
    from polyneuron.pipelines.talk.voices import voices

    study = talk.opened()
    with quietly():
        asking = voices(study, talk.wanted())
    said = [{"role": "user", "content": prompt}] if message else prompt
    with speaking(study, talk.engine.value, max_tokens) as speak:
        as_text = form is SpokenFormat.text
        answers = answered(asking, lambda voice: speak(voice, said), Console() if as_text else None)
        if len(answers) > 1:
            require_restored(answers, lambda voice: speak(voice, said))
    if not as_text:
        about = {
            "model": study.model,
            "engine": talk.engine.value,
            "prompt": prompt,
            "max_tokens": max_tokens,
        }
        print(as_json(about, answers))
    elif len(answers) > 1:
        print("All changes are undone: the base model, asked again, answers the same.")


@spread
def chat(*, talk: TalkOptions, max_tokens: MaxTokens = 64) -> None:
    """Talk with them line by line, each with its own memory; /help inside lists what can be changed meanwhile."""
    from polyneuron.pipelines.run.chatter import quietly
    from polyneuron.pipelines.talk.conversation import Conversation
    from polyneuron.pipelines.talk.speakers import speaking

    study = talk.opened()
    with quietly():
        conversation = Conversation(study, talk.wanted())
    with speaking(study, talk.engine.value, max_tokens) as speak:
        conversation.run(speak)
