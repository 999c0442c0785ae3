"""The parameters of a generation request, read once for every check, bound and count.

Promises: frozen; made from a body that was validated (`wire.requests`), so that whoever validates,
reserves, caches and counts cannot read one request in two ways.
Not covered: the texts themselves, and fields that only an engine reads, which stay in the body.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parameters:
    """One request's parameters, each in one form whichever way the client wrote it.

    `prompts` are generated for separately, each `choices` times. `max_output_tokens` bounds one
    choice, None where the client names no bound. `usage_per_chunk` asks for running usage in a
    stream, `include_usage` for its usage at the end. `temperature` None is the model's own default.
    `tools` says that some are offered, `logprobs` that log-probabilities are in the answer, `echo`
    that the prompt is. `media_parts` are parts of messages that are not text. `user` is the
    caller's name for its own user, empty without one.
    """

    model: str
    choices: int = 1
    prompts: int = 1
    max_output_tokens: int | None = None
    stream: bool = False
    include_usage: bool = False
    usage_per_chunk: bool = False
    temperature: float | None = None
    tools: bool = False
    logprobs: bool = False
    echo: bool = False
    media_parts: int = 0
    user: str = ""

    @property
    def sequences(self) -> int:
        """How many answers an engine generates for it."""
        return self.choices * self.prompts
