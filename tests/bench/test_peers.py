"""The peers: each answers, and vLLM's server gets what the tier's engine gets."""

import urllib.request

from bench.load import Job, run
from bench.peers import peer, process, vllm_flags
from core.free_port import free_port
from core.settings.load import SimulatedEngine


def test_engine_arguments_become_flags() -> None:
    args = {"dtype": "bfloat16", "enforce_eager": True, "max_model_len": 4096, "seed": None}
    assert vllm_flags(args) == ["--dtype", "bfloat16", "--enforce-eager", "--max-model-len", "4096"]
    assert vllm_flags({"enable_prefix_caching": False, "x": {"a": 1}}) == [
        "--no-enable-prefix-caching", "--x", '{"a": 1}',
    ]  # fmt: skip


def test_a_hello_peer_serves_inside_the_block_and_not_after_it() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    with process(peer("fastapi", port), port), urllib.request.urlopen(url) as answer:
        assert answer.read() == b'{"hello":"world"}'
    try:
        urllib.request.urlopen(url)
    except OSError:
        return
    raise AssertionError("the peer outlived its block")


def test_the_engine_alone_streams_every_token() -> None:
    port = free_port()
    body = '{"model": "m", "stream": true, "max_tokens": 5, "messages": []}'
    with process(peer("engine", port, SimulatedEngine(kind="simulated")), port):
        result = run(Job(port, "/v1/chat/completions", body, at_once=2, least=2))
    assert (len(result.totals_ms), result.failures, result.events) == (4, 0, 4 * 7)
