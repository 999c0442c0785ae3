"""Describe what is wrong with a named file."""

from pathlib import Path

from core.errors import UnreadableFile


def unreadable(path: Path, error: OSError) -> UnreadableFile:
    """The error of a file or folder that the operating system does not give."""
    if isinstance(error, FileNotFoundError):
        return UnreadableFile(f"no such file: {path}")
    if isinstance(error, IsADirectoryError):
        return UnreadableFile(f"{path} is a folder, not a file.")
    if isinstance(error, NotADirectoryError):
        return UnreadableFile(f"no such file: {path} (a part of it is a file, not a folder)")
    if isinstance(error, PermissionError):
        return UnreadableFile(f"no permission to read {path}")
    return UnreadableFile(f"{path} cannot be read: {error.strerror or error}")


def missing(error: Exception) -> str:
    """What a file of another form lacks, in words, from the exception that reading it raised."""
    if isinstance(error, KeyError):
        return f"it has no `{error.args[0]}`"
    if isinstance(error, FileNotFoundError):
        return f"there is no {error.filename}"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, TypeError):
        return "a value is of another kind than it should be"
    return str(error) or "it is of another form"
