"""Grade-school sums of our own in the ways in which chat models write them, right and with a slip.

A slip is wrong arithmetic, a result that none of the equations gives, or a number left unused. In a
right answer, no check of numbers may speak, whatever marks the steps or the end.
"""

from dataclasses import dataclass

import pytest

from router.judge.answer import NAMES, doubt, features
from text.reading import final_answer


@dataclass(frozen=True, slots=True)
class Solved:
    """A question, its number, a right answer, a wrong one and the check that must find the slip."""

    name: str
    question: str
    value: float
    right: str
    wrong: str
    check: str


SOLVED = (
    Solved(
        "prose, the answer is",
        "Nora has 14 stickers. She gets 3 packs with 6 stickers each. How many has she now?",
        32,
        "Nora gets 3 packs of 6 stickers, which is 3 * 6 = 18 stickers. Together with the 14 she "
        "had, that is 14 + 18 = 32 stickers. The answer is 32.",
        "Nora gets 3 packs of 6 stickers, which is 3 * 6 = 18 stickers. Together with the 14 she "
        "had, that is 14 + 18 = 34 stickers. The answer is 34.",
        "wrong_arithmetic",
    ),
    Solved(
        "four hashes",
        "A baker makes 15 trays of 12 rolls and sells 140 rolls. How many rolls are left?",
        40,
        "The baker makes 15 x 12 = 180 rolls.\nAfter the sale 180 - 140 = 40 rolls are left.\n"
        "#### 40",
        "The baker makes 15 x 12 = 170 rolls.\nAfter the sale 170 - 140 = 30 rolls are left.\n"
        "#### 30",
        "wrong_arithmetic",
    ),
    Solved(
        "display LaTeX with text units",
        "A pool holds 900 liters. A pump adds 45 liters per minute. How many minutes does it take "
        "to fill the pool?",
        20,
        "To find the time, divide the volume by the rate:\n\n\\[\n\\text{Time} = "
        "\\frac{900 \\text{ liters}}{45 \\text{ liters per minute}} = 20 \\text{ minutes}\n\\]\n\n"
        "So it takes \\(\\boxed{20}\\) minutes.",
        "To find the time, divide the volume by the rate:\n\n\\[\n\\text{Time} = "
        "\\frac{900 \\text{ liters}}{45 \\text{ liters per minute}} = 25 \\text{ minutes}\n\\]\n\n"
        "So it takes \\(\\boxed{25}\\) minutes.",
        "wrong_arithmetic",
    ),
    Solved(
        "numbered steps with bold titles",
        "Ivo earns $12 an hour and works 7 hours a day for 5 days. He spends $95. How much money "
        "is left?",
        325,
        "1. **Hours per week**: 7 hours/day * 5 days = 35 hours\n"
        "2. **Total earned**: 35 hours * $12/hour = $420\n"
        "3. **Left**: $420 - $95 = $325\n\nTherefore, Ivo has **$325** left.",
        "1. **Hours per week**: 7 hours/day * 5 days = 35 hours\n"
        "2. **Total earned**: 35 hours * $12/hour = $420\n"
        "3. **Left**: $420 - $95 = $335\n\nTherefore, Ivo has **$335** left.",
        "wrong_arithmetic",
    ),
    Solved(
        "bullets under step titles",
        "A school buys 24 desks at $65 each and 30 chairs at $18 each. What is the total cost?",
        2100,
        "### Step 1: Cost of the desks\n- 24 desks at $65 each: 24 \\times 65 = 1560\n\n"
        "### Step 2: Cost of the chairs\n- 30 chairs at $18 each: 30 \\times 18 = 540\n\n"
        "### Step 3: Total\n- 1560 + 540 = 2100\n\nThe total cost is $2,100.",
        "### Step 1: Cost of the desks\n- 24 desks at $65 each: 24 \\times 65 = 1560\n\n"
        "### Step 2: Cost of the chairs\n- 30 chairs at $18 each: 30 \\times 18 = 540\n\n"
        "### Step 3: Total\n- 1560 + 540 = 2010\n\nThe total cost is $2,010.",
        "wrong_arithmetic",
    ),
    Solved(
        "percent in LaTeX",
        "A phone costs $250 and is sold at a discount of 20%. How much does it cost now?",
        200,
        "The discount is \\( 20\\% \\) of \\$250:\n\\[ 0.20 \\times 250 = 50 \\]\n"
        "Then subtract it:\n\\[ 250 - 50 = 200 \\]\nThe phone now costs \\$200.",
        "The discount is \\( 20\\% \\) of \\$250:\n\\[ 0.20 \\times 250 = 40 \\]\n"
        "Then subtract it:\n\\[ 250 - 40 = 210 \\]\nThe phone now costs \\$210.",
        "wrong_arithmetic",
    ),
    Solved(
        "percent over a hundred, inline",
        "Of 160 guests, 35% are children. How many guests are adults?",
        104,
        "Number of children = 35% of 160 = (35/100) * 160 = 56. So the number of adults is "
        "160 - 56 = 104.",
        "Number of children = 35% of 160 = (35/100) * 160 = 58. So the number of adults is "
        "160 - 58 = 102.",
        "wrong_arithmetic",
    ),
    Solved(
        "a chain over several lines",
        "A box holds 8 rows of 9 eggs. 13 eggs are broken. How many eggs are whole?",
        59,
        "Whole eggs\n= 8 * 9 - 13\n= 72 - 13\n= 59\n\nAnswer: 59 eggs",
        "Whole eggs\n= 8 * 9 - 13\n= 72 - 13\n= 69\n\nAnswer: 69 eggs",
        "wrong_arithmetic",
    ),
    Solved(
        "aligned LaTeX",
        "A cinema sells 120 tickets at $9 and 45 tickets at $6. How much does it take in total?",
        1350,
        "\\begin{align*}\n\\text{Total} &= 120 \\times 9 + 45 \\times 6 \\\\\n&= 1080 + 270 \\\\\n"
        "&= 1350\n\\end{align*}\nThe cinema takes $\\boxed{1350}$ dollars.",
        "\\begin{align*}\n\\text{Total} &= 120 \\times 9 + 45 \\times 6 \\\\\n&= 1080 + 270 \\\\\n"
        "&= 1450\n\\end{align*}\nThe cinema takes $\\boxed{1450}$ dollars.",
        "wrong_arithmetic",
    ),
    Solved(
        "a chain in one line",
        "Lea runs 4 km on each of 5 days and 11 km on Sunday. How many km does she run in total?",
        31,
        "Lea runs 4 km/day * 5 days + 11 km = 20 km + 11 km = 31 km in total.",
        "Lea runs 4 km/day * 5 days + 11 km = 20 km + 11 km = 33 km in total.",
        "wrong_arithmetic",
    ),
    Solved(
        "money with cents",
        "Pens cost $1.25 each. Max buys 4 pens and pays with $20. How much change does he get?",
        15,
        "4 pens cost 4 * $1.25 = $5.00. Max gets $20.00 - $5.00 = $15.00 in change.\n\n"
        "The answer is $15.00.",
        "4 pens cost 4 * $1.25 = $6.00. Max gets $20.00 - $6.00 = $14.00 in change.\n\n"
        "The answer is $14.00.",
        "wrong_arithmetic",
    ),
    Solved(
        "euros behind the number",
        "A bike costs 480 €. Ada pays a quarter at once and the rest in 6 equal parts. How many "
        "euros is each part?",
        60,
        "Ada pays 480 € / 4 = 120 € at once. The rest is 480 € - 120 € = 360 €. Each part is "
        "360 € / 6 = 60 €.",
        "Ada pays 480 € / 4 = 120 € at once. The rest is 480 € - 120 € = 360 €. Each part is "
        "360 € / 6 = 70 €.",
        "wrong_arithmetic",
    ),
    Solved(
        "algebra, then a value",
        "Two numbers add up to 45. One is twice the other. What number is the larger one?",
        30,
        "Let x be the smaller number. Then x + 2x = 45, so 3x = 45 and x = 45 / 3 = 15. The larger "
        "number is 2 * 15 = 30.\n\n\\boxed{30}",
        "Let x be the smaller number. Then x + 2x = 45, so 3x = 45 and x = 45 / 3 = 15. The larger "
        "number is 2 * 15 = 35.\n\n\\boxed{35}",
        "wrong_arithmetic",
    ),
    Solved(
        "a table",
        "A farm has 35 cows, 12 goats and 48 hens. How many animals has it in total?",
        95,
        "| animal | count |\n|---|---|\n| cows | 35 |\n| goats | 12 |\n| hens | 48 |\n\n"
        "Total: 35 + 12 + 48 = 95 animals",
        "| animal | count |\n|---|---|\n| cows | 35 |\n| goats | 12 |\n| hens | 48 |\n\n"
        "Total: 35 + 12 + 48 = 85 animals",
        "wrong_arithmetic",
    ),
    Solved(
        "code that says its result",
        "A crate holds 18 bottles. How many bottles are in 7 crates after 9 bottles are taken out?",
        117,
        "```python\ncrates = 7\nbottles = 18\ntotal = crates * bottles - 9\nprint(total)\n```\n"
        "This gives 7 * 18 - 9 = 117, so 117 bottles are left.",
        "```python\ncrates = 7\nbottles = 18\ntotal = crates * bottles - 9\nprint(total)\n```\n"
        "This gives 7 * 18 - 9 = 127, so 127 bottles are left.",
        "wrong_arithmetic",
    ),
    Solved(
        "calculator marks",
        "Sam saves $8 a week for 9 weeks and gets $20 from his aunt. How much money has he?",
        92,
        "Sam saves 8*9=$<<8*9=72>>72.\nHe has 72+20=$<<72+20=92>>92.\n#### 92",
        "Sam saves 8*9=$<<8*9=72>>72.\nHe has 72+20=$<<72+20=82>>82.\n#### 82",
        "wrong_arithmetic",
    ),
    Solved(
        "fractions in LaTeX",
        "A rope of 84 meters is cut: 3/7 of it is used. How many meters are left?",
        48,
        "Used: \\(\\frac{3}{7} \\times 84 = 36\\) meters.\n\nLeft: \\(84 - 36 = 48\\) meters.\n\n"
        "**Final answer: 48 meters**",
        "Used: \\(\\frac{3}{7} \\times 84 = 32\\) meters.\n\nLeft: \\(84 - 32 = 52\\) meters.\n\n"
        "**Final answer: 52 meters**",
        "wrong_arithmetic",
    ),
    Solved(
        "a mean over a bar",
        "Uma scores 82, 91 and 79 points in 3 games. What is her average?",
        84,
        "Average = (82 + 91 + 79) / 3 = 252 / 3 = 84 points per game.",
        "Average = (82 + 91 + 79) / 3 = 252 / 3 = 86 points per game.",
        "wrong_arithmetic",
    ),
    Solved(
        "thousands",
        "A town has 18,400 people. 2,750 move away and 1,300 are born. How many people are there?",
        16950,
        "After the move there are 18,400 - 2,750 = 15,650 people. With the births there are "
        "15,650 + 1,300 = 16,950 people.",
        "After the move there are 18,400 - 2,750 = 15,750 people. With the births there are "
        "15,750 + 1,300 = 17,050 people.",
        "wrong_arithmetic",
    ),
    Solved(
        "below zero",
        "At noon it is 5 degrees. By midnight it is 12 degrees colder, then 3 degrees warmer. How "
        "many degrees below zero is it?",
        4,
        "At midnight it is 5 - 12 = -7 degrees. Then it is -7 + 3 = -4 degrees, which is 4 degrees "
        "below zero.\n\nAnswer: 4",
        "At midnight it is 5 - 12 = -8 degrees. Then it is -8 + 3 = -5 degrees, which is 5 degrees "
        "below zero.\n\nAnswer: 5",
        "wrong_arithmetic",
    ),
    Solved(
        "operators in words of a line",
        "A bus has 52 seats. 4 buses carry 195 pupils. How many seats are empty?",
        13,
        "Total seats: 4 × 52 = 208\nEmpty seats: 208 – 195 = 13\n\n✅ **Answer: 13 seats**",
        "Total seats: 4 × 52 = 208\nEmpty seats: 208 – 195 = 23\n\n✅ **Answer: 23 seats**",
        "wrong_arithmetic",
    ),
    Solved(
        "a number before the words",
        "Tim picks 25 apples a day for 4 days and gives 30 apples away. How many apples are left?",
        70,
        "Tim picked a total of 25 apples/day x 4 days = 100 apples. He has 100 apples - 30 apples "
        "= 70 apples left.",
        "Tim picked a total of 25 apples/day x 4 days = 120 apples. He has 120 apples - 30 apples "
        "= 90 apples left.",
        "wrong_arithmetic",
    ),
    Solved(
        "the result is not what was worked out",
        "A hall has 16 rows of 22 seats. 40 seats are broken. How many seats can be used?",
        312,
        "There are 16 * 22 = 352 seats, and 352 - 40 = 312 can be used.\n#### 312",
        "There are 16 * 22 = 352 seats, and 352 - 40 = 312 can be used.\n#### 412",
        "uncomputed",
    ),
    Solved(
        "half of a person",
        "36 pupils travel in cars with 5 seats for pupils each. How many cars are needed?",
        8,
        "36 / 5 = 7.2, so 7 cars are not enough, and 8 cars are needed. The answer is 8.",
        "36 / 5 = 7.2, so 7.2 cars are needed. The answer is 7.2.",
        "fractional",
    ),
    Solved(
        "minutes and hours",
        "A film lasts 150 minutes and starts after 30 minutes of trailers. How many hours is that "
        "in total?",
        3,
        "The total time is 150 + 30 = 180 minutes. Since 60 minutes = 1 hour, this is 180 / 60 = 3 "
        "hours.",
        "The total time is 150 + 30 = 180 minutes. Since 60 minutes = 1 hour, this is 180 / 60 = 4 "
        "hours.",
        "wrong_arithmetic",
    ),
    Solved(
        "a number left out",
        "Jo buys 3 shirts at $14 each, 2 hats at $9 each and a belt at $17. How much is it?",
        77,
        "Shirts: 3 * 14 = 42. Hats: 2 * 9 = 18. Altogether 42 + 18 + 17 = 77. She pays $77.",
        "Shirts: 3 * 14 = 42. Hats: 2 * 9 = 18. Altogether 42 + 18 = 60. She pays $60.",
        "unused_numbers",
    ),
    Solved(
        "years and dates",
        "Kim was born in 1987. How many years old was she in 2021?",
        34,
        "In 2021 Kim was 2021 - 1987 = 34 years old.",
        "In 2021 Kim was 2021 - 1987 = 44 years old.",
        "wrong_arithmetic",
    ),
    Solved(
        "a ratio",
        "The ratio of red to blue beads is 3:5. There are 40 beads. How many are blue?",
        25,
        "The ratio 3:5 has 3 + 5 = 8 parts. One part is 40 / 8 = 5 beads, so 5 * 5 = 25 beads are "
        "blue.",
        "The ratio 3:5 has 3 + 5 = 8 parts. One part is 40 / 8 = 6 beads, so 5 * 6 = 30 beads are "
        "blue.",
        "wrong_arithmetic",
    ),
    Solved(
        "a fraction of a whole in words",
        "There are 96 fish. 1/4 of them are red and 1/3 of the rest are blue. How many are left?",
        48,
        "Red: 1/4 * 96 = 24. The rest: 96 - 24 = 72. Blue: 1/3 * 72 = 24. Neither: 72 - 24 = 48.",
        "Red: 1/4 * 96 = 24. The rest: 96 - 24 = 72. Blue: 1/3 * 72 = 26. Neither: 72 - 26 = 46.",
        "wrong_arithmetic",
    ),
    Solved(
        "a result and then its time",
        "A ferry takes 45 cars on each of its 6 trips a day. How many cars does it take in 2 days?",
        540,
        "45 * 6 = 270 cars a day.\n270 * 2 = 540 cars.\nThe ferry takes 540 cars in 2 days.",
        "45 * 6 = 270 cars a day.\n270 * 2 = 640 cars.\nThe ferry takes 640 cars in 2 days.",
        "wrong_arithmetic",
    ),
    Solved(
        "a number that is told and not used",
        "A ticket costs $40. The club pays 25% of it. Four friends go. How much do 4 tickets cost?",
        120,
        "Each friend pays $40 * (1 - 0.25) = $30.\n4 * $30 = $120. The answer is $120.",
        "A ticket costs $40 and the club pays 25% of it.\n4 * $40 = $160. The answer is $160.",
        "unused_numbers",
    ),
    Solved(
        "a listing with an imagined output",
        "A shelf holds 14 jars, and each jar holds 35 sweets. How many sweets are on 3 shelves?",
        1470,
        "```python\njars = 14\nsweets = 35\ntotal = jars * sweets * 3\nprint(total)\n```\n"
        "```output\n1470\n```\nThe answer is \\(\\boxed{1470}\\).",
        "```python\njars = 14\nsweets = 35\ntotal = jars * sweets * 3\nprint(total)\n```\n"
        "```output\n1370\n```\nThe answer is \\(\\boxed{1370}\\).",
        "wrong_arithmetic",
    ),
    Solved(
        "a result that the question names, too",
        "8 friends share 96 cards and 16 coins. How many cards more than coins does each get?",
        10,
        "Each gets 96 / 8 = 12 cards and 16 / 8 = 2 coins. That is 12 - 2 = 10 more.",
        "Each gets 96 / 8 = 12 cards and 16 / 8 = 2 coins. That is 12 + 2 = 16 more.",
        "wrong_arithmetic",
    ),
    Solved(
        "sentence with the number first",
        "Ben reads 18 pages an hour for 3 hours, and 20 pages remain. How many pages has the book?",
        74,
        "In 3 hours Ben reads 18*3 = 54 pages. 54+20 = 74 pages is the length of the book.",
        "In 3 hours Ben reads 18*3 = 54 pages. 54+20 = 84 pages is the length of the book.",
        "wrong_arithmetic",
    ),
)
NUMBERS = ("no_final", "wrong_arithmetic", "unused_numbers", "fractional", "negative",
           "implausible", "uncomputed")  # fmt: skip


def of(question: str, answer: str) -> dict[str, float]:
    return dict(zip(NAMES, features(question, answer).tolist(), strict=True))


@pytest.mark.parametrize("case", SOLVED, ids=lambda case: case.name)
def test_a_right_answer_passes_however_it_is_written(case: Solved):
    values = of(case.question, case.right)
    failed = {name: values[name] for name in NUMBERS if values[name]}
    assert not failed


@pytest.mark.parametrize("case", SOLVED, ids=lambda case: case.name)
def test_the_number_of_a_right_answer_is_read(case: Solved):
    final = final_answer(case.right)
    assert final is not None
    assert final.value == case.value


@pytest.mark.parametrize("case", SOLVED, ids=lambda case: case.name)
def test_a_slip_is_found_and_doubted(case: Solved):
    assert of(case.question, case.wrong)[case.check] > 0
    assert doubt(case.question, case.wrong) > doubt(case.question, case.right)
