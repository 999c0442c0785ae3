"""Every command of README and docs does what it says in the environment that `make serve` makes.

Each runs as it is printed, and is asked wrongly: then it ends with 1 or 2 and words, never with a
traceback. `make test-readme` runs this; elsewhere it is skipped, because the developers' packages
would hide one that is missing.
"""

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import distributions

import pytest

from tests.docs import pages
from tests.readme import documented, stage
from tests.readme.documented import Group, Wrong
from tests.test_requirements import CPU, DEV

GROUPS = list(documented.groups())
RUN = [command for group in GROUPS for command in group.commands]
WRONG = documented.wrong([command for command in RUN if command.startswith("hansom ")])
TRACEBACK = "Traceback (most recent call last)"
# Two cores: the endpoint and one command, or two commands that wait for it.
AT_ONCE = 2


def installed() -> set[str]:
    """Distributions of this Python alone, without those that PYTHONPATH adds."""
    paths = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    names = (one.metadata["Name"] for one in distributions(path=paths))
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


pytestmark = [
    pytest.mark.readme,
    pytest.mark.skipif(
        bool(installed() & DEV) and "SERVING_ONLY" not in os.environ,
        reason="the developers' packages are here: `make test-readme` runs these without them",
    ),
]


@pytest.fixture(scope="session")
def own_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stage.Stage]:
    with stage.stage(tmp_path_factory.mktemp("readme")) as own:
        yield own


Outcomes = dict[int, Future[list[stage.Done]]]


@pytest.fixture(scope="session")
def outcomes(own_stage: stage.Stage, request: pytest.FixtureRequest) -> Iterator[Outcomes]:
    """The commands of all selected tests begin, a few at a time; each test waits for its own."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    wanted = {id(value) for call in calls if call for value in call.params.values()}

    def run(commands: tuple[str, ...]) -> list[stage.Done]:
        place = own_stage.new_folder()
        return [own_stage.run(command, place) for command in commands]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = [(id(one), one.commands) for one in GROUPS]
        asked += [(id(one), (one.command,)) for one in WRONG]
        yield {key: pool.submit(run, commands) for key, commands in asked if key in wanted}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
@pytest.mark.timeout(600)
def test_what_the_documentation_prints_runs(group: Group, outcomes: Outcomes):
    for done in outcomes[id(group)].result():
        assert done.code == 0 and TRACEBACK not in done.out + done.err, done.words


@pytest.mark.parametrize("asked", WRONG, ids=lambda one: f"{one.command[:40]} ... {one.said}")
@pytest.mark.timeout(600)
def test_what_is_asked_wrongly_is_refused_in_words(asked: Wrong, outcomes: Outcomes):
    (done,) = outcomes[id(asked)].result()
    assert done.code in asked.code, done.words
    assert asked.said in done.out + done.err and TRACEBACK not in done.out + done.err, done.words


def test_this_is_the_environment_of_make_serve_and_has_no_developers_package():
    here = installed()
    assert here & DEV == set()
    assert CPU - here == set()


def test_pip_misses_nothing_but_what_the_requirements_say():
    """The same as tests/test_requirements.py finds in the metadata, by pip itself."""
    done = subprocess.run(
        [sys.executable, "-I", "-m", "pip", "check"], capture_output=True, text=True, timeout=120
    )
    text = (pages.ROOT / "requirements" / "cpu.txt").read_text()
    found = re.findall(r"^(\S+) \S+ requires ([\w.-]+), which is not installed", done.stdout, re.M)
    assert found
    told = re.findall(r"^#   ([\w.-]+) wants (.+)$", text, re.M)
    unsaid = [
        (user, name)
        for user, name in found
        if not any(user == other and name in names for other, names in told)
    ]
    assert unsaid == []
