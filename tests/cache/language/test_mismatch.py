"""The gates: what differs in a value is refused by its name, a text itself never."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cache.language.mismatch import Mismatch, never, refusal, refusals, unexplained

WORDS = st.sampled_from(
    [
        "how",
        "do",
        "I",
        "boil",
        "eggs",
        "Paris",
        "not",
        "5",
        "km",
        "before",
        "enable",
        "JSON",
        "my",
        "from",
        "to",
        "Berlin",
        "'good",
        "day'",
        "the",
        "$10",
        "3.9",
        "July",
        "for",
        "a",
        "child",
        "who",
        "why",
        "Python",
        "--hard",
        "is",
        "never",
        "17",
        "*",
        "24",
    ]
)
TEXTS = st.lists(WORDS, max_size=14).map(" ".join) | st.text(max_size=60)


@given(TEXTS)
def test_a_text_passes_against_itself(text: str):
    assert refusal(text, text) is None


@given(TEXTS, TEXTS)
def test_a_refusal_is_the_same_both_ways(one: str, other: str):
    assert refusals(one, other) == refusals(other, one)


@given(TEXTS, TEXTS)
def test_what_is_unexplained_is_so_both_ways(one: str, other: str):
    assert unexplained(one, other) == unexplained(other, one)
    assert unexplained(one, one) is None


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_another_number_is_refused(one: int, other: int):
    assume(one != other)
    texts = (f"Give me {number} ideas for a picnic" for number in (one, other))
    assert refusal(*texts) is Mismatch.NUMBER


@given(
    st.lists(st.sampled_from(["km", "miles", "kg", "pounds", "°C", "°F"]), min_size=2, max_size=2)
)
def test_another_unit_is_refused(units: list[str]):
    assume(units[0] != units[1])
    assert refusal(f"How heavy or far is 5 {units[0]}?", f"How heavy or far is 5 {units[1]}?")


@given(
    st.from_regex(r"[A-Z][a-z]{3,9}", fullmatch=True),
    st.from_regex(r"[A-Z][a-z]{3,9}", fullmatch=True),
)
def test_another_name_is_refused(one: str, other: str):
    texts = [f"Where did {name} go to school?" for name in (one, other)]
    assume(one.lower() not in other.lower() and other.lower() not in one.lower())
    assume(refusals(texts[0], texts[1]) or not _ordinary(one, other))
    assert refusals(texts[0], texts[1])


def _ordinary(one: str, other: str) -> bool:
    """Words of a list that no capital makes a name, such as months and units."""
    from cache.language.slots import read

    return all(read(f"Where did {name} go?").names for name in (one, other))


@given(
    st.lists(
        st.sampled_from(["plants", "are", "safe", "cheap", "and", "good", "for", "dogs"]),
        min_size=2,
    ),
    st.integers(0, 20),
    st.sampled_from(["not", "never", "no", "isn't", "without"]),
)
def test_a_negation_more_is_refused(words: list[str], at: int, negator: str):
    denied = [*words[: at % len(words)], negator, *words[at % len(words) :]]
    assert Mismatch.NEGATION in refusals(" ".join(words), " ".join(denied))


@pytest.mark.parametrize(
    ("cached", "query", "reason"),
    [
        ("Who won the cup in 2010?", "Who won the cup in 2014?", Mismatch.NUMBER),
        ("convert 5km to miles", "5 miles in kilometers", Mismatch.UNIT),
        ("dinner under $30", "dinner under 30 euros", Mismatch.MONEY),
        ("What holidays fall in July?", "What holidays fall in June?", Mismatch.DATE),
        ("capital of Austria in Europe", "capital of Australia in Europe", Mismatch.NAME),
        ("Which foods are safe?", "Which foods are not safe?", Mismatch.NEGATION),
        ("enable dark mode", "disable dark mode", Mismatch.ANTONYM),
        ("lock my account", "unlock my account", Mismatch.ANTONYM),
        ("eat before a run", "eat after a run", Mismatch.ANTONYM),
        ("trains from Paris to Lyon", "trains from Lyon to Paris", Mismatch.DIRECTION),
        ("convert a list to a tuple", "convert a tuple to a list", Mismatch.DIRECTION),
        ("planets as JSON", "planets as CSV", Mismatch.FORMAT),
        ("explain rain", "explain rain briefly", Mismatch.LENGTH),
        ("explain rain", "explain rain to a child", Mismatch.AUDIENCE),
        ("translate 'hello' to french", "translate 'hello' to german", Mismatch.TARGET_LANGUAGE),
        ("translate 'hello' please", "translate 'bye' please", Mismatch.QUOTED),
        ("reverse a string in python", "reverse a string in rust", Mismatch.TECHNOLOGY),
        ("git reset --hard", "git reset --soft", Mismatch.CODE),
        ("What is 17 * 24?", "What is 17 + 24?", Mismatch.ARITHMETIC),
        ("his birthday gift", "her birthday gift", Mismatch.POSSESSOR),
        ("Who is at the door?", "Why is it at the door?", Mismatch.QUESTION),
        ("rated over 4.5", "rated under 4.5", Mismatch.BOUND),
        ("What is the time of day?", "Was ist die Zeit der Uhr?", Mismatch.LANGUAGE),
        ("5 MW of power", "5 mW of power", Mismatch.LETTER_CASE),
        ("Is it Polish?", "Is it polish?", Mismatch.LETTER_CASE),
        ("What is 5?", "What is 5!", Mismatch.SYMBOL),
        ("What is a two-factor login?", "What is a two factor login?", Mismatch.SYMBOL),
        ("How do I sing?", "How do you sing?", Mismatch.PERSON),
        ("如何打开窗户？", "如何关上窗户？", Mismatch.UNPROVEN),
        ("Wie öffne ich das?", "Wie schließe ich das?", Mismatch.UNPROVEN),
    ],
)
def test_what_changed_is_named(cached: str, query: str, reason: Mismatch):
    assert reason in refusals(cached, query)


@pytest.mark.parametrize(
    ("cached", "query"),
    [
        ("top 5 coffee shops in Seattle", "best five coffee shops in Seattle"),
        ("What is the capital of Austria?", "Which city is the capital of Austria?"),
        ("Is Paris nice?", "Is paris nice?"),
        ("a $500k mortgage at 5%", "a mortgage of $500,000 at 5 percent"),
        ("convert a list to a DataFrame in pandas", "In pandas, convert a list to a DataFrame"),
        ("compute the mean of [1,3,5]", "find the mean of [1,3,5]"),
    ],
)
def test_rewordings_pass(cached: str, query: str):
    assert refusals(cached, query) == ()


@pytest.mark.parametrize(
    ("cached", "query", "reason"),
    [
        ("How do I help you?", "How do you help me?", Mismatch.PERSON),
        ("Who is the mayor?", "Who was the mayor?", Mismatch.TENSE),
        ("What is nitrogen?", "What does nitrogen do?", Mismatch.QUESTION),
        ("lasagna recipe", "vegan lasagna recipe", Mismatch.WORD),
        ("How do I use Docker?", "How do I get Docker?", Mismatch.WORD),
        ("Does a dog chase a cat?", "Does a cat chase a dog?", Mismatch.WORD_ORDER),
        ("Books by Freud", "Books about Freud", Mismatch.WORD_ORDER),
    ],
)
def test_what_is_unexplained_is_named(cached: str, query: str, reason: Mismatch):
    assert unexplained(cached, query) is reason


@pytest.mark.parametrize(
    ("cached", "query"),
    [
        ("How can I reset my password?", "How do I reset my password?"),
        ("How to sort a list?", "How do I sort a list?"),
        ("symptoms of the flu", "flu symptoms"),
        ("What is the price of a kilo?", "How much is a kilo?"),
        ("Who wrote it?", "Who is the author of it?"),
    ],
)
def test_plain_rewordings_are_explained(cached: str, query: str):
    assert unexplained(cached, query) is None


@pytest.mark.parametrize(
    "query", ["Какая столица Франции?", "Come si apre la finestra?", "프랑스의 수도는?"]
)
def test_a_language_without_gates_is_never_answered(query: str):
    assert never(query) is Mismatch.UNSUPPORTED_LANGUAGE


@pytest.mark.parametrize(
    "query",
    [
        "What is the weather in Oslo today?",
        "What is the current price of gold?",
        "Is the bridge open at the moment?",
        "How many days until Easter?",
        "Who is winning right now?",
        "What are the latest headlines?",
    ],
)
def test_what_goes_stale_is_never_answered(query: str):
    assert never(query) is Mismatch.TIME


@pytest.mark.parametrize(
    "query", ["What is my name?", "Do you remember me?", "Write to ann@example.org for me"]
)
def test_what_is_about_the_asker_is_never_answered(query: str):
    assert never(query) is Mismatch.PERSONAL


@pytest.mark.parametrize(
    "query", ["How old is he?", "What should I do next?", "How do I reset my password?"]
)
def test_ordinary_questions_may_be_answered(query: str):
    assert never(query) is None


def test_a_long_prompt_is_never_answered():
    assert never("word " * 1000) is Mismatch.TOO_LONG
    assert never("?!") is Mismatch.EMPTY
