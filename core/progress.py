"""A `Progress` that shows nothing."""


class SilentProgress:
    """Says nothing."""

    def start(self, label: str, total: int | None) -> None:
        """Ignore the start of a step."""

    def advance(self, units: int) -> None:
        """Ignore progress."""

    def done(self) -> None:
        """Ignore the end of a step."""
