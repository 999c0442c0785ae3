"""Count a replica's interactive calls that met their SLO.

Promises: each call counts once: where its first token is late, or it left too late without one, as
missed at once; else at its end, by the time of its later tokens. Calls of the batch lane may wait
and are not counted; neither is a call that left in time before its first token.
Not covered: the time that a call was held at the gateway before it was sent here.
"""

from core.settings.scaling import Slo

_KEPT = 100_000


class SloCount:
    """The totals since the start: `judged` calls, and those of them that `missed` the SLO.

    `prefill_tokens_per_s` is the profile's, for an SLO that depends on the prompt.
    """

    def __init__(self, slo: Slo, prefill_tokens_per_s: float = 1.0) -> None:
        self._slo = slo
        self._prefill_tokens_per_s = prefill_tokens_per_s
        self._late: dict[str, None] = {}
        self.judged = self.missed = 0

    def began(self, id: str, prompt_tokens: int, ttft_s: float) -> None:
        """The first token of call `id` came after `ttft_s`; may be said again."""
        if ttft_s <= self._slo.allowed_s(prompt_tokens, self._prefill_tokens_per_s):
            return
        if id in self._late:
            return
        self._late[id] = None
        while len(self._late) > _KEPT:
            del self._late[next(iter(self._late))]
        self.judged += 1
        self.missed += 1

    def ended(self, id: str, prompt_tokens: int, waited_s: float, tpot_s: float | None) -> None:
        """Call `id` is over; its first token took `waited_s`.

        `tpot_s` is the mean of its later tokens, 0 where it had none; None where it left before its
        first, for which it had waited for so long.
        """
        self.began(id, prompt_tokens, waited_s)
        if id in self._late:
            del self._late[id]
        elif tpot_s is not None:
            self.judged += 1
            self.missed += tpot_s > self._slo.tpot_s
