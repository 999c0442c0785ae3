"""Prepare model weights: from a tier's source to the folder that vLLM loads.

Promises: `prepare` returns a whole folder or raises `WeightsError` with the tier and what to do.
What was begun and not ended is never taken for whole: work goes on in a `.partial` folder that is
renamed at the end, and a manifest says what must be in it. Two processes preparing the same tier:
one works, the other waits and finds it done. Not covered: removing prepared folders that no tier
names any more (their names end in a key that changes with the source), and loading.
"""

import dataclasses
import hashlib
import json
import logging
import pathlib
import shutil
import sys
import typing
import zipfile
import zlib

import filelock
import pydantic

from core.log import event
from core.ports import Progress
from core.settings.load import HubSource, PathSource, Tier, WheelSource
from deployments.machine import convert
from deployments.machine.fetch import WeightsError, fetch_hub, fetch_wheels, run
from text.embed import (
    TOKENIZER_FILE,
    TOKENIZER_PACKAGE,
    WEIGHTS_FILE,
    WEIGHTS_PACKAGE,
    packaged_file,
)

_LOGGER = logging.getLogger("hansom.weights")

_CONVERT_TIMEOUT_S = 1800
_MANIFEST = "hansom.json"
_MODEL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

# A converted checkpoint, and one quantized by its author, say it all in their config.json.
_ENGINE_ARGUMENTS = {
    "bitsandbytes_nf4": {"quantization": "bitsandbytes", "load_format": "bitsandbytes"},
    "fp8": {"quantization": "fp8"},
}


class StoredFile(pydantic.BaseModel, frozen=True):
    """What a prepared file must be."""

    size_bytes: int
    sha256: str


class Manifest(pydantic.BaseModel, frozen=True):
    """`hansom.json` in a prepared folder: where it came from and what it holds."""

    source: dict[str, typing.Any]
    quantization: str
    converter: int
    files: dict[str, StoredFile]


@dataclasses.dataclass(frozen=True)
class EmbedderFiles:
    """The two files that the embedder is made of."""

    model: pathlib.Path  # ONNX, int8
    tokenizer: pathlib.Path  # tokenizer.json


def prepare(
    tier: Tier, home: pathlib.Path, progress: Progress, *, verify: bool = False
) -> pathlib.Path:
    """Return the folder vLLM loads for `tier`, made under `home`/models if it is not there yet.

    An existing folder is checked by its files' sizes, with `verify` by their hashes; one that
    fails is made again. A path source that vLLM can load as it stands is returned as it stands.
    """
    source = tier.source
    if source is None:
        raise WeightsError(f"tier {tier.name}: its engine has no weights to prepare")
    if isinstance(source, PathSource):
        source_folder = _model_folder(tier, source.path)
        if not _needs_conversion(source_folder, tier.quantization):
            return source_folder
    folder = home.absolute() / "models" / _folder_name(tier)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder.with_name(f".{folder.name}.lock")):
            if not _whole(folder, verify=verify):
                _make(tier, folder, progress)
                event(_LOGGER, "weights_prepared", tier=tier.name, folder=str(folder))
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise WeightsError(
            f"tier {tier.name}: its weights cannot be prepared in {folder.parent}: {error}"
        ) from error
    return folder


def prepare_embedder() -> EmbedderFiles:
    """Find the embedder's files in the installed packages that carry them, and check them (80 ms).

    Raises `EmbedderFilesMissing` for a missing package, `WeightsError` for a file that differs.
    """
    files = EmbedderFiles(
        packaged_file(WEIGHTS_PACKAGE, WEIGHTS_FILE),
        packaged_file(TOKENIZER_PACKAGE, TOKENIZER_FILE),
    )
    for file, sha256 in ((files.model, _MODEL_SHA256), (files.tokenizer, _TOKENIZER_SHA256)):
        if _sha256(file) != sha256:
            raise WeightsError(
                f"the embedder's {file} is not the one that the router was trained with: "
                "install the pinned requirements again"
            )
    return files


def engine_arguments(quantization: str) -> dict[str, str]:
    """vLLM's engine arguments for a tier's `quantization`; empty where config.json says it all."""
    return dict(_ENGINE_ARGUMENTS.get(quantization, {}))


def _make(tier: Tier, folder: pathlib.Path, progress: Progress) -> None:
    """Build `folder` beside its final place and rename it there."""
    partial = folder.with_name(f"{folder.name}.partial")
    for leftover in (partial, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir()
    try:
        whole = _fetch_and_convert(tier, partial, progress)
        manifest = Manifest(
            source=_source_fields(tier),
            quantization=tier.quantization,
            converter=convert.VERSION,
            files={
                file.relative_to(whole).as_posix(): StoredFile(
                    size_bytes=file.stat().st_size, sha256=_sha256(file)
                )
                for file in sorted(whole.rglob("*"))
                if file.is_file()
            },
        )
        (whole / _MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
        whole.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _fetch_and_convert(tier: Tier, work: pathlib.Path, progress: Progress) -> pathlib.Path:
    """Everything from the source to a loadable folder inside `work`."""
    match tier.source:
        case WheelSource() as source:
            given = fetch_wheels(tier, source, work, progress)
        case HubSource() as source:
            given = _model_folder(tier, fetch_hub(tier, source, work / "hub", progress))
            if not _needs_conversion(given, tier.quantization):
                return given
        case PathSource(path=path):
            given = path
        case None:
            raise WeightsError(f"tier {tier.name}: its engine has no weights to prepare")
    progress.start(f"{tier.name}: converting {tier.model} ({tier.quantization})", None)
    # A process of its own gives torch's gigabytes back to the machine when it ends.
    # -P: the script's folder must not come before the standard library on the path.
    command = [sys.executable, "-P", convert.__file__, str(given), str(work / "whole")]
    if tier.quantization in convert.FORMATS:
        command += ["--quantization", tier.quantization]
    run(tier, command, f"convert {tier.model}", _CONVERT_TIMEOUT_S)
    progress.done()
    return work / "whole"


def _folder_name(tier: Tier) -> str:
    """`<tier>-<quantization>-<key>`; the key changes with whatever changes the bytes."""
    fields: dict[str, object] = {"source": _source_fields(tier), "converter": convert.VERSION}
    if isinstance(tier.source, PathSource):  # its bytes are not pinned by its name
        stats = {file.name: file.stat() for file in tier.source.path.iterdir()}
        fields["found"] = {name: [s.st_size, s.st_mtime_ns] for name, s in stats.items()}
    key = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    return f"{tier.name}-{tier.quantization}-{key[:12]}"


def _source_fields(tier: Tier) -> dict[str, typing.Any]:
    return {} if tier.source is None else tier.source.model_dump(mode="json")


def _model_folder(tier: Tier, folder: pathlib.Path) -> pathlib.Path:
    """The same folder, refused when it is none that vLLM loads."""
    if not (folder / "config.json").is_file():
        raise WeightsError(
            f"tier {tier.name}: {folder} holds no config.json: its source must be a model folder "
            "in Hugging Face's layout"
        )
    return folder


def _needs_conversion(folder: pathlib.Path, quantization: str) -> bool:
    """Whether the checkpoint is a plain one and the tier asks for one of our own formats."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return quantization in convert.FORMATS and "quantization_config" not in config


def _whole(folder: pathlib.Path, *, verify: bool) -> bool:
    """Whether the folder holds what its manifest says: sizes, and with `verify` hashes."""
    try:
        manifest = Manifest.model_validate_json((folder / _MANIFEST).read_bytes())
    except (OSError, pydantic.ValidationError):
        return False
    for name, stored in manifest.files.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != stored.size_bytes:
            return False
        if verify and _sha256(file) != stored.sha256:
            return False
    return True


def _sha256(file: pathlib.Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
