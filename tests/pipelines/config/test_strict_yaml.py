"""YAML is read as it was meant, or refused with the line that is wrong."""

import time

import pytest
import yaml

from polyneuron.neuron_core.common.errors import ConfigError
from polyneuron.pipelines.config.strict_yaml import parsed_yaml
from polyneuron.pipelines.config.study import StudyConfig


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a: 1\nb: 2\na: 3", ["a", "1 and 3"]),
        ("a:\n  b: 1\n  c: 2\n  b: 1", ["b", "2 and 4"]),
        ("a: [{x: 1, x: 1}]", ["x", "1 and 1"]),
        ("x: 1\na: !!python/object/apply:os.system [ls]", ["line 2", "!!python"]),
        ("a: !!set {x, y}", ["line 1", "!!set"]),
        ("a: !!timestamp never", ["!!timestamp"]),
        ("a:\n  b: !!int abc", ["line 2", "int"]),
        ("a: !!float ''", ["line 1", "float"]),
        ("x: 1\na: 1:30", ["line 2", "1:30"]),
        ("a: [1, 010]", ["line 1", "010"]),
        ("a: 190:20:30.15", ["190:20:30.15"]),
        ("a: 1\n---\nb: 2", ["line 2"]),
        ("[" * 50_000, ["deep"]),
        ("a: &a [*a]", ["100,000"]),
        ("? [1]\n: 2", ["unhashable"]),
        ("a\0: 2", ["0000"]),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, named: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        parsed_yaml(text, "config.yaml")
    message = str(refused.value)
    assert all(part in message for part in ("config.yaml", *named)), message
    assert len(message.splitlines()) == 1


def test_a_merge_is_no_repetition_and_dates_are_text() -> None:
    text = "base: &base {k: 1, day: 2026-11-27}\nmore: &more {<<: *base, k: 2}\nall: {<<: *more, k: 3}"
    read = parsed_yaml(text, "it")
    assert read["all"] == {"k": 3, "day": "2026-11-27"} and read["more"]["k"] == 2


def test_merges_of_merges_take_no_memory() -> None:
    lines = ["a: &a {" + ", ".join(f"k{i}: 1" for i in range(50)) + "}"]
    lines += [
        f"{new}: &{new} {{<<: [{', '.join(['*' + old] * 9)}]}}"
        for old, new in zip("abcdef", "bcdefg", strict=True)
    ]
    began = time.process_time()
    with pytest.raises(ConfigError):
        parsed_yaml("\n".join(lines), "it")
    assert time.process_time() - began < 20


def test_a_plain_file_reads_as_before() -> None:
    data = {"a": [1, 2.5, None, True, "x", 0, -10, "010", "1:30"], "b": {"c": "1e-5", "d": "12:x"}}
    assert parsed_yaml(yaml.safe_dump(data), "it") == data


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("corpus", {"n_detection": True}),
        ("corpus", {"n_detection": 10**12}),
        ("training", {"seeds": [True]}),
        ("training", {"seeds": []}),
        ("training", {"seeds": [-1]}),
        ("training", {"learning_rate": float("inf")}),
        ("training", {"n_documents": 0}),
        ("training", {"languages": [[]]}),
        ("cluster", {"hang_timeout_s": float("nan")}),
        ("evaluation", {"data": ""}),
        ("evaluation", {"languages": []}),
        ("evaluation", {"revisions": {"a\0b": "c"}}),
        ("detection", {"groups": []}),
        ("ablation", {"shared_control_seeds": 10**6}),
    ],
)
def test_values_that_no_setting_has_are_refused(section: str, values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"{section}.{next(iter(values))}"):
        StudyConfig.model_validate({"models": [{"path": "x"}], "languages": ["en", "sw"], section: values})


@pytest.mark.parametrize("place", ["file:///tmp/x", "local:///tmp/x", "/tmp/x"])
def test_a_store_on_this_machine_is_a_path(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/tmp")
    for store in (place, "~/x"):
        config = StudyConfig.model_validate({"models": [{"path": "x"}], "store": store})
        assert (config.store, str(config.report_path)) == ("/tmp/x", "/tmp/x/report.html")


def test_the_report_of_a_store_elsewhere_needs_a_file() -> None:
    config = StudyConfig.model_validate({"models": [{"path": "x"}], "store": "s3://bucket/x"})
    with pytest.raises(ConfigError):
        _ = config.report_path
