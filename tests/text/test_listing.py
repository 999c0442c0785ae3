"""What listings print, without running them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from text.listing import printed


@pytest.mark.parametrize(
    ("code", "numbers"),
    [
        ("a = 3\nb = a * 4 - 2\nprint(b)", [10]),
        ("print('total', 2 + 3, 'and', 7 // 2)", [5, 3]),
        ("x = 7\nx += 5\nprint(f'{x} pens at {x / 2:.2f}')", [12, 6]),
        ("total = 4 * 5\nprint('Total: ' + str(total))", [20]),
        ("price = 80\nprice * 0.75", [60]),
        ("import math\nprint(math.ceil(7.2), round(2.6))", [8, 3]),
        ("def cost(n, each=2):\n    return n * each\nprint(cost(3, 4))", [12]),
        ("def cost(n):\n    fee = 5\n    return n + fee\nresult = cost(n=3)\nresult", [8]),
        ("def f():\n    a = 2\n    print(a ** 3)\nf()", [8]),
        ("a = -2\nprint(a, a % 3)", [-2, 1]),
    ],
)
def test_straight_arithmetic_is_computed(code: str, numbers: list[float]):
    assert printed(code) == numbers


@pytest.mark.parametrize(
    "code",
    [
        "",
        "print(",
        "print('only words')",
        "print(unknown)",
        "print(3, unknown)",
        "a = 1\nfor i in range(3):\n    a += i\nprint(a)",
        "if True:\n    print(3)",
        "def f(n):\n    if n:\n        return 1\n    return 2\nprint(f(3))",
        "from sympy import *\nx = symbols('x')\nprint(solve(2 * x - 6))",
        "print(1 / 0)",
        "print(2 ** 1000)",
        "print(10.0 ** 60 * 9)",
        "print(__import__('os').getcwd())",
        "def f(n):\n    return f(n)\nprint(f(1))",
        "print(True)",
    ],
)
def test_what_depends_on_more_than_arithmetic_prints_nothing(code: str):
    assert printed(code) == []


@given(st.text())
def test_any_text_is_read(code: str):
    assert isinstance(printed(code), list)


@pytest.mark.parametrize(
    "code",
    [
        "".join(f"def f{n + 1}(x):\n    return f{n}(x) + f{n}(x)\n" for n in range(40)) + "f40(1)",
        "x = 9\n" + "x = x * x * x\n" * 200 + "print(x)",
        "print(" + "(" * 190 + "1" + ")" * 190 + ")",
        "a = " + "-" * 3000 + "1\nprint(a)",
    ],
)
def test_a_hostile_listing_costs_little(code: str):
    started_s = time.perf_counter()
    printed(code)
    assert time.perf_counter() - started_s < 0.5
