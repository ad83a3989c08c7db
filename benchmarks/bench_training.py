"""An epoch of each workload: fastnet, the NumPy reference, and the ratio of the two; its cost, its memory."""

import tracemalloc

from benchmarks.workloads import WORKLOADS, compare, problem

EPOCHS = {"planar 2-4-1": 200, "cancer 30-64-32-1": 20}
"""Epochs in a unit of work, where one takes less than a few milliseconds."""


class Epoch:
    """Time of training, in units of several epochs where one is short."""

    params = (list(WORKLOADS), ["fastnet", "reference"])
    param_names = ("workload", "implementation")
    timeout = 600

    def time_epochs(self, workload, implementation):
        made = problem(workload)
        train = made.fastnet_epochs if implementation == "fastnet" else made.reference_epochs
        train(EPOCHS.get(workload, 1))


class Ratio:
    """fastnet's time over the reference's, alternating in one process; the cost both reach."""

    params = (list(WORKLOADS),)
    param_names = ("workload",)
    timeout = 600

    def track_time_over_reference(self, workload):
        return compare(workload).ratio

    track_time_over_reference.unit = "fastnet time / reference time"

    def track_final_cost(self, workload):
        """J after 20 epochs of the seeded problem: a faster engine must not learn less."""
        return problem.__wrapped__(workload).fastnet_epochs(20)

    track_final_cost.unit = "J"

    def track_memory_of_a_fit(self, workload):
        """Peak of what `fit` allocates beyond the data, in bytes."""
        made = problem(workload)
        tracemalloc.start()
        made.fastnet_epochs(1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    track_memory_of_a_fit.unit = "bytes"
