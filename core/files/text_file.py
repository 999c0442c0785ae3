r"""Read a text file as any editor or program may have written it.

Promises: a UTF-8 byte order mark is no part of the text; a line ends at \n (or \r\n) and nowhere
else, because a JSON string may hold U+2028, U+2029 and U+0085 as they are, at which `splitlines`
would break it; what is no UTF-8 is an error that names the file and the line.
Not covered: other encodings, and what the lines mean.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path

from core.errors import UnreadableFile
from core.files.problem import unreadable

_OTHER_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read(path: Path) -> str:
    """Return the text of a file; raises `UnreadableFile`."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    return decode(raw, path)


def decode(raw: bytes, path: Path) -> str:
    """Return the text of the bytes of a file; raises `UnreadableFile`."""
    if raw.startswith(_OTHER_MARKS):
        raise _no_text(path, 1, "it is UTF-16 or UTF-32")
    # No text has a NUL, and every second byte of English in UTF-16 without a mark is one.
    if (nul := raw.find(b"\0")) >= 0:
        raise _no_text(path, _line(raw, nul), "it has a NUL byte")
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        why = f"the byte 0x{raw[error.start]:02x} is not UTF-8"
        raise _no_text(path, _line(raw, error.start), why) from error


def lines(text: str) -> Iterator[tuple[int, str]]:
    r"""Yield each line that is not blank with its number, from 1; without the \r of a \r\n."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.removesuffix("\r")


def _line(raw: bytes, at: int) -> int:
    return raw.count(b"\n", 0, at) + 1


def _no_text(path: Path, line: int, why: str) -> UnreadableFile:
    return UnreadableFile(f"{path} cannot be read: line {line}: {why}; save the file as UTF-8.")
