"""`hansom router`: train and measure the score, and see why a prompt goes where it goes.

Promises: nothing here changes a running system; with `--json` one object goes to standard output
and nothing else. Wrong options are exit code 2; a file that does not fit is 1 and says what it has.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import typer

from cli import router_print
from cli.prompt import text_of
from cli.router_rows import read_labelled, score
from core.errors import HansomError
from core.settings.load import Settings, load
from router.policy.cutoffs import cut_offs, spread
from router.policy.policy import decide
from router.policy.terms import AUTO, Observation, Policy, Strategy, TierName
from router.score.conversation import read
from router.score.explain import explain, read_sample
from router.score.features import of_conversation
from router.score.heuristic import complexity
from router.score.model import Scorer
from router.tuning.compare import Ranking, compare
from router.tuning.evaluation import evaluate_file
from text.embed import MiniLM


def evaluate(
    path: Path,
    weak: str,
    strong: str,
    weights: Path,
    *,
    adapt: int | None,
    seed: int,
    answers: bool,
    as_json: bool,
) -> None:
    """Print how well the score routes the rows of a file, with what it does not know."""
    exam = evaluate_file(
        path,
        weak,
        strong,
        adapt=adapt,
        seed=seed,
        answers=answers,
        scorer=Scorer.load(weights),
        embedder=MiniLM.installed(),
    )
    if as_json:
        typer.echo(json.dumps(exam.as_json()))
    else:
        router_print.exam(exam)


def train(data: Path, out: Path, cache: Path | None, *, as_json: bool) -> None:
    """Train a new version of the weights and write it with its card."""
    # LightGBM, scikit-learn and pandas, which no other command waits for.
    from training.router import train as training
    from training.router.dataset import load as load_table

    if not (data / "pairs.json").is_file():
        raise HansomError(f"{data} has no pairs.json, which names each file's two models.")
    try:
        table = load_table(data, cache)
    except (OSError, KeyError, ValueError) as error:
        raise HansomError(
            f"{data} does not hold what training/router/dataset.py names: {error}"
        ) from error
    study, weights = training.study(table)
    training.write(out, out.name, table, study, weights)
    told = {
        "folder": str(out),
        "version": out.name,
        "rows": len(table.prompt),
        "threshold": study.threshold,
        "strong_share": study.large_share,
        "apgr_folds": {line.name: line.apgr.value for line in study.folds},
        "apgr_left_out": {line.name: line.apgr.value for line in study.left_out},
    }
    typer.echo(json.dumps(told) if as_json else f"{out / 'card.md'} says how good it is.")


def side_by_side(
    path: Path,
    weak: str,
    strong: str,
    settings: Settings,
    *,
    between: Sequence[str] = (),
    as_json: bool,
) -> None:
    """Print every strategy's shares, quality and recovered gap on the rows of a file.

    There are as many tiers as models are named: `between` are those between the ends.
    """
    scorer = Scorer.load(settings.router.weights)
    tiers = tuple(TierName(model) for model in (weak, *between, strong))
    own = settings.router.threshold
    if isinstance(own, tuple) and len(own) != len(tiers) - 1:
        raise HansomError(
            f"router.threshold has {len(own)} cut-offs, for {len(own) + 1} tiers, and the file's "
            f"rows are of {len(tiers)} models: name those between with --between."
        )
    policy = Policy(tiers, cut_offs(own, scorer.threshold, len(tiers)))
    labelled = read_labelled(path, weak, strong, between=between)
    scored = score(labelled, scorer, MiniLM.installed(), quiet=as_json)
    rules = np.array([complexity(prompt) for prompt in labelled.prompts])
    lines = compare(
        labelled.weak,
        labelled.strong,
        {
            Strategy.LEARNED: Ranking(scored.need, policy.thresholds, scored.judged.rank),
            Strategy.HEURISTIC: Ranking(
                rules, spread(policy.heuristic_threshold, len(tiers)), rules
            ),
        },
        policy.random_large_share,
        between=labelled.between,
    )
    if as_json:
        told = {"rows": len(labelled.prompts), "seen_in_training": scored.seen}
        typer.echo(json.dumps({**told, "strategies": [asdict(line) for line in lines]}))
    else:
        router_print.strategies(lines, scored)


def explain_prompt(prompt: str, settings: Settings, *, as_json: bool) -> None:
    """Print one decision: score, tier, reason, what moved it most, the nearest training prompts."""
    scorer = Scorer.load(settings.router.weights)
    text = text_of(prompt)
    conversation = read([{"role": "user", "content": text}])
    embedding = MiniLM.installed().embed([conversation.asked])[0]
    surface = of_conversation(conversation)
    scored = scorer.score(embedding, surface)
    seen = Observation(request_id="", requested=AUTO, signals={}, score=scored, text=text)
    decision = decide(seen, _policy(settings, scorer))
    sample = read_sample(settings.router.weights, scorer.weights)
    why = explain(scorer.weights, embedding, surface, sample)
    if not as_json:
        router_print.explanation(decision, scored, why)
        return
    told = {
        "tier": decision.tier,
        "code": decision.code,
        "reason": decision.reason,
        "threshold": decision.threshold,
        "score": asdict(scored),
        **asdict(why),
    }
    typer.echo(json.dumps(_without_nan(told)))


def with_weights(config: Path, weights: Path | None) -> Settings:
    """The settings, with another folder of weights where one was asked for."""
    settings = load(config)
    if weights is None:
        return settings
    router = settings.router.model_copy(update={"weights": weights})
    return settings.model_copy(update={"router": router})


def _policy(settings: Settings, scorer: Scorer) -> Policy:
    """The settings' tiers under the learned strategy, whichever strategy serves."""
    tiers = tuple(TierName(tier.name, tier.model) for tier in settings.tiers)
    return Policy(tiers, cut_offs(settings.router.threshold, scorer.threshold, len(tiers)))


def _without_nan(told: object) -> object:
    """JSON has no nan: null stands for it."""
    if isinstance(told, dict):
        return {name: _without_nan(value) for name, value in told.items()}
    if isinstance(told, list | tuple):
        return [_without_nan(value) for value in told]
    return None if isinstance(told, float) and math.isnan(told) else told
