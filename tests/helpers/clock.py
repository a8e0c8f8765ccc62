"""A clock for work in limited time: one tick a decode, so that no test waits or measures."""

import math

from localent.runs import Listener
from localent.runs.clock import Time, limited


class Clock:
    """A clock that ticks once a decode, and the sentences that were said."""

    def __init__(self, now=100.0):
        self.now, self.notes, self.n_tokens = now, [], 0

    def __call__(self):
        return self.now

    def tick(self, progress):
        self.now += progress.n_tokens != self.n_tokens
        self.n_tokens = progress.n_tokens

    def listener(self, seconds=math.inf):
        time = limited(seconds / 60, self) if seconds < math.inf else Time(clock=self)
        return Listener(self.tick, note=self.notes.append, time=time)
