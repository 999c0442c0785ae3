"""Which language a prompt is in; unsure where it is not plain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.language import lexicon
from cache.language.detect import GATED, language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the capital of France?", "en"),
        ("python sort list ascending", "en"),
        ("SELECT name FROM users", "en"),
        ("What does 'wie geht es dir' mean in English?", "en"),
        ("What is a café?", "en"),
        ("What does α mean?", "en"),
        ("Was ist die Hauptstadt von Frankreich?", "de"),
        ("Quelle est la capitale de la France ?", "fr"),
        ("¿Cuál es la capital de Francia?", "es"),
        ("法国的首都是哪里？", "zh"),
        ("如何安装 Docker？", "zh"),
        ("フランスの首都はどこですか", "ja"),
        ("Docker をインストールする方法", "ja"),
        ("Какая столица Франции?", "cyrillic"),
        ("프랑스의 수도는 어디인가요?", "hangul"),
        ("ما هي عاصمة فرنسا؟", "arabic"),
        ("Qual è la capitale della Francia?", "it"),
        ("Qual é a capital da França? Não sei", "pt"),
        ("Wat is de hoofdstad van Frankrijk? Ik weet het niet", "nl"),
        ("What does this mean: wo ist der Bahnhof und wer bist du", ""),
    ],
)
def test_the_language_is_told_by_script_or_small_words(text: str, language: str) -> None:
    assert language_of(text) == language


@given(st.text(max_size=120))
def test_any_text_has_an_answer(text: str) -> None:
    assert isinstance(language_of(text), str)


@given(st.data(), st.sampled_from(["it", "pt", "nl", "sv", "pl", "cs", "tr", "fi", "hu", "vi"]))
def test_words_of_a_language_without_gates_are_never_english(
    data: st.DataObject, name: str
) -> None:
    own = sorted(lexicon.FUNCTION_WORDS[name] - lexicon.FUNCTION_WORDS["en"])
    words = data.draw(st.lists(st.sampled_from(own), min_size=2, max_size=6))
    assert language_of(" ".join(words)) != "en"


def test_a_gated_language_has_function_words_or_a_script() -> None:
    assert GATED - {"zh", "ja"} <= lexicon.FUNCTION_WORDS.keys()
