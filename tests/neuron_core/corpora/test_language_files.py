"""Files of a folder go to the language that they are named for, to no other, and what is no text is not read."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyneuron.neuron_core.common.errors import CorpusError
from polyneuron.neuron_core.corpora.language_files import list_files

CODES = (
    "en",
    "sw",
    "no",
    "zh",
    "zh-Hans",
    "zh-Hant",
    "zh_classical",
    "pt",
    "pt-BR",
    "sr",
    "sr-Latn",
    "swh_Latn",
    "yue",
)


def _folder(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{name}\n")
    return root


def _files(folder: Path, language: str, *others: str, pattern: str | None = None) -> list[str]:
    _, paths = list_files(str(folder), pattern, language, others=others)
    return [str(Path(path).relative_to(folder)) for path in paths]


@pytest.mark.parametrize(
    ("name", "names", "language", "expected"),
    [
        ("corpora-en-sw", ("en.txt", "sw.txt"), "sw", ["sw.txt"]),
        ("data", ("zh.txt", "zh-Hans.txt"), "zh", ["zh.txt"]),
        ("data", ("zh.txt", "zh-Hans.txt"), "zh-Hans", ["zh-Hans.txt"]),
        ("data", ("zh_Hans.txt",), "zh-Hans", ["zh_Hans.txt"]),
        ("data", ("en.txt", "en_old.txt"), "en", ["en.txt"]),
        ("data", ("en_0001.txt", "en_0002.txt"), "en", ["en_0001.txt", "en_0002.txt"]),
        ("data", ("en-train-00000-of-00002.txt", "en-train-00001-of-00002.txt"), "en", None),
        ("oscar/sw_meta", ("part_1.txt", "part_2.txt"), "sw", ["part_1.txt", "part_2.txt"]),
        ("data-sw", ("a.txt",), "sw", ["a.txt"]),
        (
            "data",
            ("en/LICENSE.txt", "en/readme_first.txt", "en/x.txt", "en/.hidden.txt", "en/.old/x.txt"),
            "en",
            ["en/x.txt"],
        ),
        ("data", ("__MACOSX/en/x.txt", "en/x.txt", "dataset_infos.json", "state.json"), "en", ["en/x.txt"]),
        ("data", ("english.txt", "en.txt"), "en", ["en.txt"]),
    ],
)
def test_names_are_read_as_whole_codes(
    tmp_path: Path, name: str, names: tuple[str, ...], language: str, expected: list[str] | None
) -> None:
    assert _files(_folder(tmp_path / name, *names), language) == (
        sorted(names) if expected is None else expected
    )


@pytest.mark.parametrize(
    ("name", "names", "language"),
    [
        ("en-sw", ("a.txt",), "en"),
        ("en-sw", ("a.txt",), "sw"),
        ("data", ("en-sw.txt",), "en"),
        ("data", ("zh-Hant.txt",), "zh"),
        ("data", ("pt-BR.txt", "pt-PT.txt"), "pt"),
        ("data", ("en_old.txt", "en_new.txt"), "en"),
        ("data", ("en.txt", "en.jsonl"), "en"),
        ("data", ("en.txt", "en.txt.gz"), "en"),
        ("data", ("en.txt", "en/a.txt"), "en"),
        ("data", ("english.txt",), "en"),
        ("data-en", ("sw.txt",), "en"),
        ("data", ("LICENSE.txt", "README.txt"), "en"),
    ],
)
def test_a_choice_is_left_to_the_user(
    tmp_path: Path, name: str, names: tuple[str, ...], language: str
) -> None:
    folder = _folder(tmp_path / name, *names)
    with pytest.raises(CorpusError) as caught:
        _files(folder, language, "sw" if language == "en" else "en")
    assert language in caught.value.message and Path(names[0]).name in caught.value.message


def test_a_pattern_reads_what_it_says_but_no_licence(tmp_path: Path) -> None:
    _folder(tmp_path / ".cache/x", "a.txt", "b.txt", "LICENSE.txt", ".ipynb_checkpoints/a.txt")
    assert _files(tmp_path / ".cache/x", "en", pattern="**/*.txt") == ["a.txt", "b.txt"]
    assert _files(tmp_path / ".cache/x", "en", pattern="LICENSE.txt") == ["LICENSE.txt"]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    codes=st.sets(st.sampled_from(CODES), min_size=2, max_size=6),
    ends=st.lists(st.sampled_from(["", "_0001", "-train", ".clean", "_meta_part_1"]), min_size=6, max_size=6),
    folder=st.sampled_from(["data", "en-sw", "zh", "corpora.no.pt", "sr_old"]),
    in_folders=st.booleans(),
    junk=st.sets(
        st.sampled_from(["LICENSE.txt", ".en.txt", "README_en.txt", "metadata.jsonl", "__x/en.txt"])
    ),
)
def test_no_language_gets_anothers_texts(
    tmp_path_factory: pytest.TempPathFactory,
    codes: set[str],
    ends: list[str],
    folder: str,
    in_folders: bool,
    junk: set[str],
) -> None:
    """Whatever the names, a language gets its own file or an error, and its own wherever the name is the code alone."""
    names = {
        code: f"{code}/x{end}.txt" if in_folders else f"{code}{end}.txt"
        for code, end in zip(sorted(codes), ends, strict=False)
    }
    root = _folder(tmp_path_factory.mktemp("corpora") / folder, *names.values(), *junk)
    for code in codes:
        try:
            assert _files(root, code, *(codes - {code})) == [names[code]]
        except CorpusError:
            assert not in_folders and names[code] != f"{code}.txt"
    for absent in set(CODES) - codes:
        with pytest.raises(CorpusError):
            _files(root, absent, *codes)
