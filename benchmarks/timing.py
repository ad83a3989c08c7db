"""Timing that a shared machine does not spoil: alternating rounds, medians."""

import time
from collections.abc import Callable

import numpy as np


def median_seconds(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Call every task once, to warm up, and then in turns; return the median time of each."""
    for task in tasks.values():
        task()
    times = np.empty((rounds, len(tasks)))
    for row in times:
        for column, task in enumerate(tasks.values()):
            start = time.perf_counter()
            task()
            row[column] = time.perf_counter() - start
    return dict(zip(tasks, np.median(times, axis=0).tolist(), strict=True))
