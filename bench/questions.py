"""Questions with known answers, made by code.

Promises: the same seed gives the same questions; every gold answer is computed, or stands in a
table here. Most kinds run from easy to hard, so that models of different sizes are each right in
some and wrong in others.
Not covered: how the answers are graded (`bench/grading.py`).
"""

import calendar
import datetime
import random
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from bench.grading import BRIEF, NUMBER, SHORT, WORKED, Question

_ASKED = {
    SHORT: "Answer with the result only.",
    BRIEF: "Give a reason in one short sentence. End with a line 'Answer: X'.",
    WORKED: "Work it out in a few short steps. End with a line 'Answer: X'.",
}
_DAYS, _MONTHS = list(calendar.day_name), list(calendar.month_name)[1:]
_FACTS: dict[str, dict[str, str]] = tomllib.loads(
    Path(__file__).with_name("facts.toml").read_text(encoding="utf-8")
)
_WORDS = re.findall(
    r"\w+",
    """cat lamp river window banana garden elephant strawberry mississippi committee letter
    bookkeeper parallel engine success tomorrow necessary apple balloon occurrence""",
)


def made(each: int, seed: int = 0) -> list[Question]:
    """`each` questions a kind, shuffled; those to be worked out are also asked briefly."""
    found: dict[str, Question] = {}
    for kind, (maker, forms) in _MAKERS.items():
        draw = random.Random(f"{seed}:{kind}")
        for at in range(each):
            text, gold, options = maker(draw, at % 4)
            form = forms[at // 4 % len(forms)]
            for each_form in (form,) if form == SHORT else (form, BRIEF):
                prompt = f"{text} {_ASKED[each_form]}"
                found[prompt] = Question(kind, each_form, prompt, gold, options)
    questions = list(found.values())
    random.Random(seed).shuffle(questions)
    return questions


def kept(folder: Path, each: int, seed: int = 0) -> list[Question]:
    """Rows of our own data with a gold answer: multiple choice, short and worked, and mathematics.

    `folder` is that of `mmlu_pro.parquet` and `zeroeval_math-l5.parquet`; raises `OSError`.
    """
    import pandas as pd  # only training data needs it

    found = []
    choice = pd.read_parquet(folder / "mmlu_pro.parquet", columns=["prompt", "gold"])
    choice = choice[choice.prompt.str.len() < 450].sample(2 * each, random_state=seed)
    for at, (text, gold) in enumerate(choice.itertuples(index=False)):
        letters = tuple(re.findall(r"(?m)^([A-J])\. ", text))
        for form in ((SHORT,), (WORKED, BRIEF))[at % 2]:
            asked = "Answer with the letter only." if form == SHORT else _ASKED[form]
            found.append(Question("choice", form, f"{text}\n\n{asked}", gold, letters))
    sums = pd.read_parquet(folder / "zeroeval_math-l5.parquet", columns=["prompt", "gold"])
    sums = sums[sums.gold.str.fullmatch(NUMBER.pattern) & (sums.prompt.str.len() < 300)]
    for text, gold in sums.sample(each, random_state=seed).itertuples(index=False):
        prompt = f"{text}\n\n{_ASKED[WORKED]}"
        found.append(Question("mathematics", WORKED, prompt, gold))
    return found


Made = tuple[str, str, tuple[str, ...]]


def _sum(draw: random.Random, level: int) -> Made:
    sign = draw.choice("+-*") if level else "+"
    top = (20, 60, 300, 3000)[level]
    one, other = draw.randint(2, top), draw.randint(2, top if sign != "*" else 9 + level * 4)
    value = {"+": one + other, "-": one - other, "*": one * other}[sign]
    return f"What is {one} {sign} {other}?", str(value), ()


def _story(draw: random.Random, level: int) -> Made:
    name = draw.choice(("Ana", "Ben", "Chen", "Dora", "Emil", "Fay"))
    a, b, c = (draw.randint(3, 9 + 12 * level) for _ in range(3))
    d = draw.randint(2, 3 + level)
    told = draw.choice(
        (
            (f"{name} has {a} marbles, finds {b} more and loses {min(c, a)}. How many marbles does "
             f"{name} have now?", a + b - min(c, a)),
            (f"A shop sells pens at {d} dollars and books at {a} dollars. {name} buys {b} pens and "
             f"{d} books. How many dollars does {name} pay?", d * b + a * d),
            (f"{name} reads {a} pages a day for {d} days and then {b} pages a day for {c} days. "
             "How many pages is that in total?", a * d + b * c),
            (f"{name} packs {d * b} apples into bags of {d}. Each bag sells for {a} dollars. How "
             "many dollars do all bags bring?", a * b),
            (f"A train goes {10 * a} km an hour. How many km does it go in {d} hours and 30 "
             "minutes?", 10 * a * d + 5 * a),
            (f"A coat costs {20 * a} dollars and is sold at {10 * d} percent off. How many dollars "
             "does it cost now?", 20 * a - 2 * a * d),
            (f"{name} is {a + c} years old and {c} years older than Kim. How old will Kim be in "
             f"{b} years?", a + b),
        )
    )  # fmt: skip
    return told[0], str(told[1]), ()


def _convert(draw: random.Random, level: int) -> Made:
    units = [
        ("kilometres", "metres", 1000), ("hours", "minutes", 60), ("kilograms", "grams", 1000),
        ("metres", "centimetres", 100), ("days", "hours", 24), ("minutes", "seconds", 60),
        ("dozen eggs", "eggs", 12), ("weeks", "days", 7), ("hours", "seconds", 3600),
    ]  # fmt: skip
    many, few, rate = draw.choice(units)
    count = draw.randint(2, (5, 12, 60, 400)[level])
    if level % 2:
        return f"How many {many} are {count * rate} {few}?", str(count), ()
    return f"How many {few} are {count} {many}?", str(count * rate), ()


def _day(draw: random.Random, level: int) -> Made:
    start, ahead = draw.randrange(7), draw.randint(1, (2, 6, 20, 100)[level])
    text = f"Today is {_DAYS[start]}. Which day of the week is it in {ahead} days?"
    return text, *_not_asked(_DAYS, (start + ahead) % 7, start)


def _month(draw: random.Random, level: int) -> Made:
    start, ahead = draw.randrange(12), draw.randint(1, (1, 4, 11, 30)[level])
    text = f"Which month is {ahead} month{'s' * (ahead > 1)} after {_MONTHS[start]}?"
    return text, *_not_asked(_MONTHS, (start + ahead) % 12, start)


def _not_asked(names: list[str], gold: int, start: int) -> tuple[str, tuple[str, ...]]:
    """An answer may repeat what the question named, unless that is the answer."""
    return names[gold], tuple(name for at, name in enumerate(names) if at == gold or at != start)


def _between(draw: random.Random, level: int) -> Made:
    first = datetime.date(2024 + level, draw.randint(1, 11), draw.randint(1, 20))
    last = first + datetime.timedelta(days=draw.randint(3, (8, 25, 60, 200)[level]))
    told = [f"{_MONTHS[one.month - 1]} {one.day}, {one.year}" for one in (first, last)]
    return f"How many days after {told[0]} is {told[1]}?", str((last - first).days), ()


def _letters(draw: random.Random, level: int) -> Made:
    word = draw.choice(_WORDS)
    letter = draw.choice(word)
    place = draw.randrange(len(word))
    text, gold = (
        (f"What is the first letter of the word '{word}'?", word[0]),
        (f"How many letters does the word '{word}' have?", str(len(word))),
        (f"How often does the letter '{letter}' occur in '{word}'?", str(word.count(letter))),
        (f"Write letter number {place + 1} of the word '{word}'.", word[place]),
    )[level]
    return text, gold, tuple("abcdefghijklmnopqrstuvwxyz") if not gold.isdigit() else ()


def _row(draw: random.Random, level: int) -> Made:
    numbers = draw.sample(range(10, 100 * 10**level), 4 + 2 * level)
    text, gold = draw.choice(
        (
            ("What is the largest of", max(numbers)), ("What is the smallest of", min(numbers)),
            ("How many numbers are there in", len(numbers)), ("What is the third of", numbers[2]),
            ("What is the sum of the first two of", numbers[0] + numbers[1]),
        )
    )  # fmt: skip
    return f"{text} these numbers: {', '.join(map(str, numbers))}?", str(gold), ()


def _next(draw: random.Random, level: int) -> Made:
    start, step = draw.randint(1, 9), draw.randint(2, 4 + 4 * level)
    at = range(5)
    rows = [
        [start + step * each for each in at],
        [start + 50 * level - step * each for each in at],
        [start * 2**each for each in at],
        [start + step * each * each for each in at],
    ]
    *shown, gold = rows[min(level, draw.randint(0, 3))]
    return f"Which number comes next: {', '.join(map(str, shown))}, ...?", str(gold), ()


def _yes(draw: random.Random, level: int) -> Made:
    one, other = draw.randint(2, 10 ** (level + 1)), draw.randint(2, 10 ** (level + 1))
    text, holds = draw.choice(
        (
            (f"Is {one} greater than {other}?", one > other),
            (f"Is {one} an even number?", one % 2 == 0),
            (f"Is {one} divisible by 3?", one % 3 == 0),
            (f"Is {one} + {other} more than {10 ** (level + 1)}?", one + other > 10 ** (level + 1)),
        )
    )
    return f"{text} Say yes or no.", "yes" if holds else "no", ("yes", "no")


def _fact(kind: str, asked: str) -> Callable[[random.Random, int], Made]:
    def made_of(draw: random.Random, _: int) -> Made:
        known = draw.choice(list(_FACTS[kind]))
        return asked.format(known), _FACTS[kind][known], ()

    return made_of


def _country(draw: random.Random, _: int) -> Made:
    land = draw.choice(list(_FACTS["capital"]))
    return f"{_FACTS['capital'][land]} is the capital of which country?", land, ()


def _python(draw: random.Random, level: int) -> Made:
    word, a, b = draw.choice(_WORDS), draw.randint(2, 4 + 3 * level), draw.randint(2, 5)
    text, value = draw.choice(
        (
            (f"len('{word}' * {a})", len(word * a)), (f"sum(range({a}))", sum(range(a))),
            (f"{a} ** {b} % 7", a**b % 7), (f"len(set('{word}'))", len(set(word))),
            (f"[{a}, {b}, {a + b}][-2]", b), (f"max({a}, {b}) * {b} // 2", max(a, b) * b // 2),
        )
    )  # fmt: skip
    return f"What does this Python print: print({text})", str(value), ()


_MAKERS: dict[str, tuple[Callable[[random.Random, int], Made], tuple[str, ...]]] = {
    "sum": (_sum, (SHORT,)),
    "story": (_story, (WORKED, SHORT, WORKED)),
    "conversion": (_convert, (SHORT, WORKED)),
    "day": (_day, (SHORT, WORKED)),
    "month": (_month, (SHORT,)),
    "between": (_between, (SHORT, WORKED)),
    "letters": (_letters, (SHORT,)),
    "row": (_row, (SHORT, WORKED)),
    "next": (_next, (SHORT, WORKED)),
    "yes_no": (_yes, (SHORT, WORKED)),
    "capital": (_fact("capital", "What is the capital of {}?"), (SHORT,)),
    "element": (_fact("element", "Which chemical element has the symbol {}?"), (SHORT,)),
    "country": (_country, (SHORT,)),
    "continent": (_fact("continent", "On which continent is {}?"), (SHORT,)),
    "opposite": (_fact("opposite", "What is the opposite of '{}'?"), (SHORT,)),
    "past": (_fact("past", "What is the simple past of the verb '{}'?"), (SHORT,)),
    "french": (_fact("french", "What does the French word '{}' mean in English?"), (SHORT,)),
    "python": (_python, (SHORT, WORKED)),
}
