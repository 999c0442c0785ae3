"""What is documented is run by `make test-readme`, or listed with the reason why it is not."""

import re
from pathlib import Path

import pytest

from tests.docs import pages
from tests.readme.documented import (
    NOT_RUN,
    Wrong,
    groups,
    lines,
    not_run,
    shell_blocks,
    subcommand,
    wrong,
)

RUN = [command for group in groups() for command in group.commands]


def test_every_command_is_run_or_listed_with_its_reason():
    all_lines = [one for block in shell_blocks() for one in lines(block)]
    run = set(RUN)
    assert [one for one in all_lines if one not in run and not_run(one) is None] == []
    used = {not_run(one) for one in all_lines}
    assert set(NOT_RUN) - used == set()  # nothing is listed that is gone
    assert not run & {one for one in all_lines if not_run(one)}


def test_every_command_of_the_table_is_run():
    began = {subcommand(one) for one in RUN if one.startswith("hansom ")}
    left = set(pages.rows("docs/cli.md", "command")) - began
    # Of these what runs here is the endpoint, and their refusals are those of tests/cli.
    assert left == {"hansom serve", "hansom router train"}


def test_every_documented_target_of_make_exists():
    written = re.findall(r"^([\w-]+):", (pages.ROOT / "Makefile").read_text(), re.M)
    asked = {
        words[1]
        for block in shell_blocks()
        for words in map(str.split, lines(block))
        if words[0] == "make"
    }
    assert asked and asked - set(written) == set()


@pytest.mark.parametrize("page", [*pages.PAGES], ids=lambda page: page.name)
def test_a_page_with_benchmarks_says_which_environment_they_need(page: Path):
    benches = [
        block for block in shell_blocks() if block.page == page and "python -m bench." in block.text
    ]
    if benches and page.name != "CONTRIBUTING.md":
        assert "make install-dev" in pages.prose(page)


def test_each_command_is_asked_wrongly_by_its_options_its_settings_and_its_files():
    asked = wrong(["hansom plan replay examples/day.csv", "hansom cache stats"])
    assert [(one.command, one.said) for one in asked] == [
        ("hansom plan replay --no-such-option", "--no-such-option"),
        ("hansom plan replay missing.csv", "missing.csv"),
        ("hansom plan replay garbage.csv", "garbage.csv"),
        ("hansom cache stats --no-such-option", "--no-such-option"),
        ("hansom cache stats --config missing.yaml", "missing.yaml"),
    ]
    assert asked[0] == Wrong("hansom plan replay --no-such-option", (2,), "--no-such-option")


def test_a_pattern_matches_the_whole_command_however_it_is_wrapped():
    assert not_run("make  test   ARGS=x") == "make test *"
    assert not_run("hansom cost") is None and not_run("make tests") is None
