"""Sentence splitting in the six embedded languages and in the scripts that have marks of their own."""

import pytest

from polyneuron.neuron_core.corpora.embedded_corpus import embedded
from polyneuron.neuron_core.corpora.sentences import split_sentences


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "It rained. Did you see? Yes!", ["It rained.", "Did you see?", "Yes!"]),
        ("en", "Dr. J. Smith paid 3.50 for it. He left.", ["Dr. J. Smith paid 3.50 for it.", "He left."]),
        ("en", '"Stop!" he said. She went.', ['"Stop!" he said.', "She went."]),
        ("en", "One line\nand another", ["One line", "and another"]),
        ("de", "Am 3. Mai kam er, z. B. spät. Gut.", ["Am 3. Mai kam er, z. B. spät.", "Gut."]),
        ("fr", "« Pourquoi ? » Il partit. Fin.", ["« Pourquoi ? »", "Il partit.", "Fin."]),
        ("sw", "Mvua ilinyesha. Je, uliiona?", ["Mvua ilinyesha.", "Je, uliiona?"]),
        ("zh", "下雨了。你看见了吗？“看见了！”他说。", ["下雨了。", "你看见了吗？", "“看见了！”", "他说。"]),
        ("hi", "वह आया। वह गया।", ["वह आया।", "वह गया।"]),
        ("en", "  \n ", []),
    ],
)
def test_splits(language: str, text: str, expected: list[str]) -> None:
    assert split_sentences(text, language) == expected


def test_thai_is_split_between_clauses_but_not_beside_numbers() -> None:
    first = "เมื่อวานนี้ฝนตกหนักมากตลอดทั้งวันในกรุงเทพ"
    second = "เด็กทั้ง 12 คนจึงต้องรออยู่ที่โรงเรียนจนค่ำ"
    assert split_sentences(f"{first} {second}", "th") == [first, second]


@pytest.mark.parametrize("language", ["en", "zh", "sw", "fr", "de"])
def test_nearly_every_embedded_sentence_stays_whole_and_two_come_apart(language: str) -> None:
    sentences = embedded()[language]
    whole = sum(split_sentences(sentence, language) == [sentence] for sentence in sentences)
    assert whole >= 0.95 * len(sentences)
    joiner = "" if language == "zh" else " "
    assert len(split_sentences(joiner.join(sentences[:20]), language)) >= 18
