"""One vLLM engine in a process of its own, asked by `bench.quantization` over its pipes.

Promises: one line of JSON on standard output for every line on standard input (`speed`, `quality`,
`memory`), and one when the engine is ready. vLLM's own output goes to standard error. In-process
engine core: what is timed is the model, not the transport.
"""

import json
import os
import pathlib
import sys
import time
import typing

import psutil
import yaml

PROMPTS = pathlib.Path(__file__).with_name("quantization_prompts.yaml")
NEW_TOKENS = 48
PREFILL_TOKENS = 512


def load(folder: str, arguments: dict[str, typing.Any]) -> typing.Any:
    """The engine as the laptop tiers run it, but without a prefix cache: repeats must be work."""
    from vllm import LLM

    return LLM(
        model=folder,
        dtype="bfloat16",
        enforce_eager=True,
        max_num_seqs=16,
        max_model_len=2048,
        enable_prefix_caching=False,
        disable_log_stats=True,
        **arguments,
    )


def speed(engine: typing.Any) -> dict[str, float]:
    """Tokens per second: writing alone, writing four at once, and reading one long prompt."""
    from vllm import SamplingParams

    def rate(prompts: int, new_tokens: int, prompt_tokens: int, counted: int) -> float:
        given = [
            {"prompt_token_ids": [1000 + (i * 7 + p) % 3000 for i in range(prompt_tokens)]}
            for p in range(prompts)
        ]
        sampling = SamplingParams(temperature=0, max_tokens=new_tokens, ignore_eos=True)
        began_s = time.perf_counter()
        engine.generate(given, sampling, use_tqdm=False)
        return counted / (time.perf_counter() - began_s)

    return {
        "alone": rate(1, NEW_TOKENS, 32, NEW_TOKENS),
        "four": rate(4, NEW_TOKENS, 32, 4 * NEW_TOKENS),
        "read": rate(1, 1, PREFILL_TOKENS, PREFILL_TOKENS),
    }


def quality(engine: typing.Any) -> list[str]:
    """The greedy answers to the fixed prompts, in their order."""
    from vllm import SamplingParams

    prompts = yaml.safe_load(PROMPTS.read_text(encoding="utf-8"))
    chats = [[{"role": "user", "content": prompt["ask"]}] for prompt in prompts]
    limits = [SamplingParams(temperature=0, max_tokens=p.get("tokens", 64)) for p in prompts]
    outputs = engine.chat(chats, limits, use_tqdm=False)
    return [output.outputs[0].text for output in outputs]


def memory_bytes() -> int:
    """What this process holds resident."""
    return int(psutil.Process().memory_info().rss)


def main(folder: str, arguments: str) -> None:
    """Serve until standard input ends."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    began_s = psutil.Process().create_time()
    engine = load(folder, json.loads(arguments))
    out.write(json.dumps(time.time() - began_s) + "\n")
    for line in sys.stdin:
        if line.strip() == "speed":
            out.write(json.dumps(speed(engine)) + "\n")
        elif line.strip() == "quality":
            out.write(json.dumps(quality(engine)) + "\n")
        else:
            out.write(json.dumps(memory_bytes()) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
