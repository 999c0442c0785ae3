"""Is a tier's model prepared? Reads the manifests that `deployments.machine.weights` writes.

A prepared folder is `models/<tier>-<quantization>-<key>` under the home folder, with a
`hansom.json` in it. The key is not computed again here: a folder counts when its manifest names
the tier's own source and every file in it has the size it should have.
"""

import json
from pathlib import Path

from core.settings.load import PathSource, Tier


def prepared_bytes(tier: Tier, home: Path) -> int:
    """Bytes of the tier's prepared model; 0 when there is none, or only part of one."""
    if isinstance(tier.source, PathSource) and (tier.source.path / "config.json").is_file():
        return sum(file.stat().st_size for file in tier.source.path.glob("*.safetensors"))
    manifests = (home / "models").glob(f"{tier.name}-{tier.quantization}-*/hansom.json")
    return max((_whole_bytes(tier, manifest) for manifest in manifests), default=0)


def _whole_bytes(tier: Tier, manifest: Path) -> int:
    """Bytes that the manifest lists; 0 unless all of them are there and from the tier's source."""
    try:
        told = json.loads(manifest.read_bytes())
        sizes_bytes = {name: int(file["size_bytes"]) for name, file in told["files"].items()}
        source = told["source"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0
    if tier.source is None or source != tier.source.model_dump(mode="json"):
        return 0
    whole = all(
        (manifest.parent / name).is_file() and (manifest.parent / name).stat().st_size == size_bytes
        for name, size_bytes in sizes_bytes.items()
    )
    return sum(sizes_bytes.values()) if whole else 0
