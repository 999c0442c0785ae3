"""Progress in a terminal: a bar where the length is known, a spinner where it is not."""

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class TerminalProgress:
    """`core.ports.Progress` on standard error; a finished step keeps its line and its time."""

    def __init__(self) -> None:
        self._bars = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._task: int | None = None

    def start(self, label: str, total: int | None) -> None:
        """Begin a step, ending the one before."""
        self.done()
        self._bars.start()
        self._task = self._bars.add_task(label, total=total)

    def advance(self, units: int) -> None:
        """Add to the running step."""
        if self._task is not None:
            self._bars.advance(self._bars.tasks[self._task].id, units)

    def done(self) -> None:
        """End the running step and stop drawing."""
        if self._task is not None:
            task = self._bars.tasks[self._task]
            self._bars.update(task.id, total=task.total or 1, completed=task.total or 1)
            self._task = None
        self._bars.stop()
