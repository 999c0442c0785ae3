"""The file of profiles: the shipped one is right, wrong ones are told, a measurement is put in."""

from pathlib import Path

import pytest

from autoscale.calibrate.profiles import load, pick, put
from autoscale.policy.profile import EngineProfile
from core.errors import HansomError, SettingsError

SHIPPED = Path(__file__).parents[3] / "config" / "profiles.yaml"
NEW = EngineProfile(
    name="mine", source="Measured: prompts, 1 to 2.", base_s=0.0123, per_sequence_s=0.0,
    per_kv_token_s=0.0, prefill_tokens_per_s=99.5, chunk_tokens=64, kv_tokens=1000,
)  # fmt: skip


def test_the_shipped_profiles_say_where_they_come_from():
    names = [one.name for one in load(SHIPPED)]
    assert names == ["A100-8B", "L40S-8B", "laptop"]
    assert all(len(one.source) > 40 for one in load(SHIPPED))


def test_an_8b_model_on_an_a100_answers_at_the_pace_of_its_source():
    """AIConfigurator 0.12: a TPOT of 11.9 ms at batch 1; within a tenth."""
    step_s = pick(SHIPPED, "A100-8B").step_s(1, 1155)
    assert step_s == pytest.approx(0.0119, rel=0.1)


def test_an_unknown_name_is_told_with_those_that_are_known():
    with pytest.raises(HansomError, match="no profile H100; it has A100-8B, L40S-8B, laptop"):
        pick(SHIPPED, "H100")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("profiles:\n  - {name: x, source: y, base_s: 0}", "profiles.0.base_s"),
        ("profiles:\n  - {name: x, source: y, speed: 3}", "profiles.0.speed: is not a known"),
        ("- 1", "must be a mapping"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, text: str, said: str):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load(path)
    assert said in str(raised.value)


def test_two_of_one_name_are_refused(tmp_path: Path):
    path = tmp_path / "p.yaml"
    put(path, NEW)
    path.write_text(path.read_text() + path.read_text().removeprefix("profiles:\n"))
    with pytest.raises(SettingsError, match="two profiles are called mine"):
        load(path)


def test_a_measured_profile_takes_its_place_and_leaves_the_others_as_they_are(tmp_path: Path):
    path = tmp_path / "p.yaml"
    path.write_text(SHIPPED.read_text())
    laptop = NEW.model_copy(update={"name": "laptop"})
    put(path, laptop)
    put(path, NEW)
    put(path, NEW.model_copy(update={"gpus": 4}))
    assert [one.name for one in load(path)] == ["A100-8B", "L40S-8B", "laptop", "mine"]
    assert pick(path, "laptop") == laptop
    assert pick(path, "mine").gpus == 4
    assert pick(path, "A100-8B") == pick(SHIPPED, "A100-8B")
    before = SHIPPED.read_text().partition("  - name: laptop")[0]
    assert path.read_text().startswith(before.rstrip())
    assert [child.name for child in tmp_path.iterdir()] == ["p.yaml"]


def test_a_broken_file_is_not_written_over(tmp_path: Path):
    path = tmp_path / "p.yaml"
    path.write_text("profiles: 3")
    with pytest.raises(SettingsError):
        put(path, NEW)
    assert path.read_text() == "profiles: 3"
