"""Grading by rule: what counts as right, and that the mix is the same every time."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from bench.bigbench import Task, read

LEGS = Task("general_knowledge", "How many legs?", ("four",), ("four", "forty four", "two"))
SUM = Task("arithmetic", "12 + 30?", ("42",))


@pytest.mark.parametrize(
    ("task", "answer", "right"),
    [
        (LEGS, "Four.", True),
        (LEGS, "The answer is: four, not two", True),
        (LEGS, "two or four", False),
        (LEGS, "forty four", False),
        (LEGS, "fourteen", False),
        (LEGS, "", False),
        (SUM, "12 + 30 = 42.", True),
        (SUM, "It is 142", False),
        (SUM, "1,042", False),
        (Task("qa", "Pop?", ("1,042",)), "There are 1042 people", True),
    ],
)
def test_an_answer_is_right_when_it_names_the_target_first(
    task: Task, answer: str, right: bool
) -> None:
    assert task.right(answer) is right


def archive(folder: Path) -> Path:
    """An archive like BIG-bench's, with one task of options, one without, and one not chosen."""
    choice = {"input": "Q{}", "target_scores": {"yes": 1, "no": 0}}
    tasks: dict[str, dict[str, Any]] = {
        "general_knowledge/task.json": {
            "examples": [choice | {"input": f"Q{at}"} for at in range(9)]
        },
        "arithmetic/1_digit/task.json": {
            "task_prefix": "Sum: ",
            "examples": [{"input": f"{at} + 1 =", "target": [str(at + 1)]} for at in range(9)],
        },
        "kannada/task.json": {"examples": [{"input": "x", "target": "y"}]},
    }
    file = folder / "bigbench.tar.gz"
    with tarfile.open(file, "w:gz") as out:
        for name, told in tasks.items():
            raw = json.dumps(told).encode()
            info = tarfile.TarInfo(f"bigbench-1.0.0/bigbench/benchmark_tasks/{name}")
            info.size = len(raw)
            out.addfile(info, io.BytesIO(raw))
    return file


def test_the_mix_has_each_tasks_share_and_is_the_same_every_time(tmp_path: Path) -> None:
    file = archive(tmp_path)
    tasks = read(file, each=4)
    assert [task.name for task in tasks] == ["general_knowledge"] * 4 + ["arithmetic"] * 4
    assert tasks == read(file, each=4)
    assert tasks != read(file, each=4, seed=1)
    assert tasks[0].options == ("no", "yes")
    assert tasks[0].targets == ("yes",)
    assert "- no\n- yes" in tasks[0].prompt
    assert tasks[-1].prompt.startswith("Sum: ")
