"""What the user sees while a run goes on."""

import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

from metatoolagent.meta.data_parallel import Contribution


class Progress:
    """A bar with loss, share of right answers and speed, on the error stream; only the leading process shows it."""

    def __init__(self, label: str, update: int, updates: int, *, shown: bool) -> None:
        """Begin after an update."""
        self.shown = shown
        self.started = time.monotonic()
        self.tasks = self.tokens = 0
        if update:
            self.say(f"going on after update {update} of {updates}")
        # Where nobody watches, a line now and then is enough.
        interval = 0.5 if sys.stderr.isatty() else 15.0
        self.bar = tqdm(total=updates, initial=update, desc=label, unit="update", mininterval=interval, disable=not shown)

    def close(self) -> None:
        """End the bar; what was said stays."""
        self.bar.close()

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self.shown:
            tqdm.write(line, file=sys.stderr)

    def show(self, log: Sequence[Sequence[float | None]], done: Sequence[Contribution]) -> None:
        """Count an update.

        Args:
            log: the rows so far, with loss and share of right answers in the second and third place.
            done: what the processes did in this update.
        """
        self.tasks += sum(contribution.tasks for contribution in done)
        self.tokens += sum(contribution.tokens for contribution in done)
        seconds = time.monotonic() - self.started
        recent = log[-10:]
        loss, right = (sum(row[column] or 0.0 for row in recent) / len(recent) for column in (1, 2))
        speed = f"{self.tasks / seconds:.1f} tasks/s, {self.tokens / seconds:.0f} tokens/s"
        self.bar.set_postfix_str(f"loss {loss:.3f}, right {100 * right:.0f} %, {speed}", refresh=False)
        self.bar.update()
