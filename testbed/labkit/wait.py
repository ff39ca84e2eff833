"""Waiting for a state of the world, never for an amount of time."""

import time

POLL_SECONDS = 0.05


class Late(Exception):
    """The state didn't come before the deadline; the text says what was seen last."""


def until(what, probe, seconds=30.0, poll=POLL_SECONDS):
    """Asks `probe` until its answer is true, and returns that answer.

    The last answer is part of the error, so that it tells what there was instead. Where it is to
    be worth reading, `probe` returns `Seen(...)`.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise Late(f"not within {seconds:g} s: {what} (last seen: {answer!r})")
        time.sleep(poll)


class Seen:
    """An answer that is true or not, and can be shown either way."""

    def __init__(self, truth, value):
        self.truth = truth
        self.value = value

    def __bool__(self):
        return bool(self.truth)

    def __repr__(self):
        return repr(self.value)
