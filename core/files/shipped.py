"""Find the files that ship with Hansom, and resolve relative paths of settings files.

Promises: `shipped` gives the same file in a checkout and in an installed wheel, from any folder.
"""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

# The folder of the packages: a checkout, or site-packages. `importlib.resources` would name the
# same files, but an editable install made before `config` was package data does not know them.
ROOT = Path(__file__).absolute().parents[2]
FOLDER = "folder"


def shipped(name: str) -> Path:
    """The path of a file under `config/`, as `laptop.yaml`."""
    return ROOT / "config" / name


def located(path: Path, folder: Path) -> Path:
    """A path that a settings file in `folder` names, as an absolute path.

    A relative one is looked for beside the settings file, then in the current folder, then among
    the files that ship with Hansom. Where none exists, it is the one beside the settings file.
    """
    path = path.expanduser()
    bases = (folder, Path.cwd(), ROOT)
    found = next((base / path for base in bases if (base / path).exists()), folder / path)
    return found.absolute()


def _located(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get(FOLDER)
    return path if folder is None else located(path, folder)


# A setting that names a file or folder to read; `core.settings.yaml_file.read` says where its file
# lies.
LocatedPath = Annotated[Path, AfterValidator(_located)]
