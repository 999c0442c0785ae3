"""Say in plain words which values a setting or an option may have.

Promises: no word of pydantic's own reaches the user, whatever the kind of error.
"""

import re
from collections.abc import Mapping

from pydantic_core import ErrorDetails

_NUMBER, _WHOLE, _MAPPING = "must be a number", "must be a whole number", "must be a mapping"
_LIST, _TEXT, _BOOL = "must be a list", "must be text", "must be true or false"
_DAY = "must be a day, as 2026-11-01"
_WORDS: Mapping[str, str] = {
    "missing": "must be given",
    "extra_forbidden": "is not a known setting",
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be {le} or less",
    "less_than": "must be below {lt}",
    "finite_number": "must be a finite number",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "bool_type": _BOOL,
    "bool_parsing": _BOOL,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": "must be a smaller whole number",
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "decimal_type": _NUMBER,
    "decimal_parsing": _NUMBER,
    "decimal_max_digits": "must have {max_digits} digits or fewer",
    "decimal_max_places": "must have {decimal_places} decimal places or fewer",
    "string_type": _TEXT,
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have {max_length} or fewer characters",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have {max_length} or fewer entries",
    "path_type": "must be a path",
    "date_type": _DAY,
    "date_parsing": _DAY,
    "date_from_datetime_parsing": _DAY,
    "date_from_datetime_inexact": _DAY,
    "none_required": "must be left out",
}


def allowed(item: ErrorDetails) -> str:
    """`must be 1 or more`: what may stand where `item` was found."""
    context = item.get("ctx", {})
    if item["type"] in ("value_error", "assertion_error"):
        return str(context.get("error", "")) or "is not valid"
    if words := _WORDS.get(item["type"]):
        return words.format(**{name: _number(value) for name, value in context.items()})
    return plain(item["msg"])


def _number(value: object) -> object:
    """A bound as people write it: 1, where the code has 1.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def plain(words: str) -> str:
    """Pydantic's message without pydantic's idioms, for a kind that has no words here."""
    for idiom, other in (
        (r"^Value error, ", ""),
        (r"^Input should (be|have|match|contain)", r"must \1"),
        (r"^Input should", "must"),
        (r"\ban? valid ", "a "),
        (r"^Field required", "must be given"),
        (r"\bInput\b", "The value"),
    ):
        words = re.sub(idiom, other, words)
    return words
