"""What all commands take alike."""

from pathlib import Path

import pytest
import typer

from polyneuron.pipelines import cli

COMMANDS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
PATHS = [
    (name, parameter.name)
    for name, command in COMMANDS.items()
    for parameter in command.params
    if parameter.type_descriptor.annotation is Path
]


@pytest.mark.parametrize(("name", "parameter"), PATHS)
def test_a_tilde_is_the_home_folder_in_every_path(
    name: str, parameter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell leaves it as it is in --out=~/study."""
    monkeypatch.setenv("HOME", str(tmp_path))
    command = COMMANDS[name]
    (option,) = (option for option in command.params if option.name == parameter)
    with command.make_context(name, [], resilient_parsing=True) as context:
        context.resilient_parsing = False
        assert Path(option.process_value(context, "~/study")) == tmp_path / "study"


def test_paths_are_found() -> None:
    assert {("study", "out"), ("export", "folder"), ("query", "output"), ("init", "file")} <= {*PATHS}


def test_init_writes_to_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        cli.main(["init", "~/study.yaml", "--model", "Qwen/Qwen2.5-0.5B"])
    assert left.value.code == 0 and (tmp_path / "study.yaml").exists() and not (tmp_path / "~").exists()
