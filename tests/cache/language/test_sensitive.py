"""Questions of now and of their author, in the languages with gates."""

import pytest

from cache.language.detect import language_of
from cache.language.sensitive import about_author, about_now


@pytest.mark.parametrize(
    "text",
    [
        "What is the weather?",
        "What is the weather like in Rome?",
        "Is it raining?",
        "Who won last night?",
        "Wie ist das Wetter heute?",
        "Wer ist derzeit Bundeskanzler?",
        "Wie spät ist es?",
        "Was war gestern los?",
        "Quel temps fait-il aujourd'hui ?",
        "Quel temps fait-il aujourd’hui ?",
        "Quelle heure est-il ?",
        "Qui est l'actuel président ?",
        "¿Qué tiempo hace hoy?",
        "¿Quién es el presidente actual?",
        "¿Qué hora es?",
        "今天天气怎么样？",
        "现在几点？",
        "最近有什么新闻？",
        "明天會下雨嗎？",
        "今日の天気は？",
        "今何時ですか？",
        "最新のニュースは？",
    ],
)
def test_now_is_recognised(text: str) -> None:
    assert about_now(text)


@pytest.mark.parametrize(
    "text",
    [
        "What is my name?",
        "Where do I live?",
        "Wie ist mein Name?",
        "Wer bin ich?",
        "Wann ist mein Termin?",
        "Erinnerst du dich an mich?",
        "Quel est mon nom ?",
        "Où est ma commande ?",
        "Qui suis-je ?",
        "¿Cuál es mi nombre?",
        "¿Dónde está mi pedido?",
        "¿Quién soy?",
        "我叫什么名字？",
        "我的订单在哪里？",
        "我的电脑怎么了？",
        "我是谁？",
        "私の名前は何ですか？",
        "僕の予約はいつですか？",
        "私は誰ですか？",
    ],
)
def test_the_author_is_recognised(text: str) -> None:
    assert about_author(text, language_of(text))


@pytest.mark.parametrize(
    "text",
    [
        "How do I reset my password?",
        "Wie kann ich mein Passwort ändern?",
        "Comment puis-je changer mon mot de passe ?",
        "¿Cómo puedo cambiar mi contraseña?",
        "如何重置我的密码？",
        "私のパスワードを変更する方法は？",
        "Was ist eine Primzahl?",
        "Qu'est-ce qu'un nombre premier ?",
        "¿Qué es un número primo?",
        "什么是质数？",
        "素数とは何ですか？",
    ],
)
def test_what_anybody_may_ask_at_any_time_is_neither(text: str) -> None:
    assert not about_now(text)
    assert not about_author(text, language_of(text))
