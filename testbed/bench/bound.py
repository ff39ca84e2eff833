"""The time that a whole run may take: where it is short, there are fewer rounds of everything."""
import time


class Bound:
    """So many seconds from now."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def left(self):
        return max(self.end - time.monotonic(), 0.0)

    def over(self):
        return self.left() == 0.0

    def part(self, share):
        """That share of what is left."""
        return Bound(self.left() * share)
