"""Progress in a terminal: a bar where the length is known, a running time where it is not."""

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class TerminalProgress:
    """Several things going on at once, a line each, on standard error."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._bars = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            console=Console(stderr=True, quiet=quiet),
        )

    def __enter__(self) -> "TerminalProgress":
        """Begin to draw."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; the lines stay."""
        self._bars.stop()

    def lane(self) -> "ProgressLane":
        """A `core.ports.Progress` of one thing that has one step after the other."""
        return ProgressLane(self._bars)


class ProgressLane:
    """One line at a time; a finished step keeps its line and its time."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def start(self, label: str, total: int | None) -> None:
        """Begin a step, ending the one before."""
        self.done()
        self._task = self._bars.add_task(label, total=total)

    def advance(self, units: int) -> None:
        """Add to the running step."""
        if self._task is not None:
            self._bars.advance(self._task, units)

    def done(self) -> None:
        """End the running step."""
        if self._task is not None:
            total = next(task.total for task in self._bars.tasks if task.id == self._task) or 1
            self._bars.update(self._task, total=total, completed=total)
            self._task = None
