"""The examination: pairs, streams and context probes, on the shipped weights."""

import json
from pathlib import Path
from typing import Any

import pytest

from cache.semantic.pair import PromptReader
from cache.semantic.verify import Verifier
from cache.tuning.evaluation import CacheEvaluation, Examiner, Share
from core.errors import HansomError
from text.embed import MiniLM


@pytest.fixture(scope="module")
def examiner() -> Examiner:
    embedder = MiniLM.installed()
    return Examiner(embedder, Verifier.load(PromptReader(embedder)))


def examined(examiner: Examiner, path: Path, rows: list[dict[str, Any]]) -> CacheEvaluation:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return examiner.evaluate_file(path)


def pair(a: str, b: str, label: int, family: str = "f") -> dict[str, Any]:
    return {"a": a, "b": b, "label": label, "family": family, "group": a}


def test_pairs_are_counted(examiner: Examiner, tmp_path: Path):
    report = examined(
        examiner,
        tmp_path / "pairs",
        [
            pair("What is the capital of Peru?", "Which city is the capital of Peru?", 1),
            pair("What is the capital of Peru?", "What is the capital of Chile?", 0, "g"),
            pair("What is the capital of Peru?", "How do I bake bread?", 1),
            pair("How do I bake bread?", "How do I bake bread?", 0),
        ],
    )
    told = report.as_json()
    assert (told["kind"], told["n"], told["hits"], told["wrong"]) == ("pairs", 4, 2, 1)
    assert (told["hit_rate"], told["wrong_share"], told["recall"]) == (0.5, 0.5, 0.5)
    assert told["families"] == {
        "f": {"n": 3, "hits": 2, "wrong": 1},
        "g": {"n": 1, "hits": 0, "wrong": 0},
    }
    assert report.reasons["name"] == 1
    (wrong,) = report.wrong_hits
    assert (wrong.cached, wrong.query, wrong.reason) == (
        "How do I bake bread?",
        "How do I bake bread?",
        "same_text",
    )


def test_a_stream_starts_cold_and_never_shares_what_is_out_of_scope(
    examiner: Examiner, tmp_path: Path
):
    texts = ["How do I bake bread?", "How do I bake bread?", "Where is Peru?", "Where is Peru?"]
    answers = ["bread", "bread", "oos", "oos"]
    rows = [{"text": one, "answer": two} for one, two in zip(texts, answers, strict=True)]
    report = examined(examiner, tmp_path / "stream", rows)
    assert (report.kind, report.hits, report.wrong) == ("stream", Share(2, 4), Share(1, 2))
    assert report.recall == Share(1, 1)
    assert report.wrong_hits[0].query == "Where is Peru?"


def probe(tenant: str, cached: str, query: str, expect: str, **changed: object) -> dict[str, Any]:
    def side(owner: str, text: str, more: dict[str, object]) -> dict[str, Any]:
        messages = [{"role": "user", "content": text}]
        return {"tenant": owner, "request": {"model": "m", "messages": messages, **more}}

    return {
        "cached": side("t1", cached, {}),
        "query": side(tenant, query, changed),
        "expect": expect,
        "family": "ctx",
    }


def test_context_probes_go_through_the_scope(examiner: Examiner, tmp_path: Path):
    cached, query = "What is the capital of Peru?", "Which city is the capital of Peru?"
    report = examined(
        examiner,
        tmp_path / "probes",
        [
            probe("t1", cached, query, "hit"),
            probe("t2", cached, query, "miss"),
            probe("t1", cached, query, "miss", max_tokens=5),
        ],
    )
    assert (report.hits, report.wrong, report.recall) == (Share(1, 3), Share(0, 1), Share(1, 1))
    assert report.reasons == {"verified": 1, "scope": 2}


def test_no_hits_have_no_wrong_share(examiner: Examiner, tmp_path: Path):
    rows = [pair("How do I bake bread?", "Who was the first king of Spain?", 0)]
    told = examined(examiner, tmp_path / "x", rows).as_json()
    assert told["hit_rate"] == 0
    assert told["wrong_share"] is told["wrong_share_low"] is told["recall"] is None


def test_intervals_are_wilsons():
    low, high = Share(5, 100).interval or (0, 0)
    assert (round(low, 4), round(high, 4)) == (0.0215, 0.1118)
    assert Share(0, 50).interval == pytest.approx((0, 0.0713), abs=1e-3)


def test_an_unknown_level_is_named(examiner: Examiner):
    other = Examiner(examiner.embedder, examiner.verifier, "0.5")
    with pytest.raises(HansomError, match="levels"):
        _ = other.settings
