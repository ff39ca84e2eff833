"""The time that a whole run may take: what is measured last gets fewer rounds where time is short."""
import time


class Bound:
    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def over(self):
        return time.monotonic() >= self.end
