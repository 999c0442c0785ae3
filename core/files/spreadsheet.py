"""Write text to a CSV file so that no spreadsheet runs it as a formula.

A text that begins with `=`, `+`, `-` or `@` is a formula to a spreadsheet, which may fetch a URL or
start a program; a header that any client may set would be enough. An apostrophe in front makes it
text again.
Promises: numbers stay numbers, also those that are written as text; two texts never become one.
Not covered: reading such a file back; JSON lines and Parquet hold texts as they are.
"""

import re

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
# Spreadsheets skip blanks, controls and quotes before a formula, and Japanese ones take full-width
# signs for it. Where `;` is the separator of the user's country, a cell begins behind every `;` and
# every tab. Apostrophes that are there already get one more, so that the text can be told again.
_BLANKS = (
    r"[ \x00-\x08\x0b\x0c\x0e-\x1f\x85\xa0"
    r"\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u3000\ufeff\"]"
)
START = rf"'*{_BLANKS}*[=+\-@\t\r\n＝＋－＠]"
_FORMULA = re.compile(rf"(^|[;\t\r\n])(?={START})")


def cell(value: object) -> object:
    """Return the value as a CSV cell holds it: text that could be a formula gets apostrophes."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    return _FORMULA.sub(r"\1'", value)
