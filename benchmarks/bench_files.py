"""Saving and loading, and what checkpoints cost a fit, the disk's part apart."""

import os
import tempfile
from pathlib import Path
from unittest.mock import patch

import fastnet
from benchmarks.timing import median_seconds
from benchmarks.workloads import problem
from fastnet import Checkpoint

EPOCHS = {"cancer": 5000, "digits-784": 20}
"""In a fit with checkpoints: some half a second."""


class SaveAndLoad:
    """Time of one file, written to the disk or read."""

    params = (["cancer", "wide"],)
    param_names = ("workload",)

    def setup(self, workload):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "model.fastnet")
        self.model = problem(workload).model
        self.model.save(self.path)

    def teardown(self, workload):
        self.folder.cleanup()

    def time_save(self, workload):
        self.model.save(self.path)

    def time_load(self, workload):
        fastnet.load(self.path)


class Checkpoints:
    """A fit with a checkpoint every ten epochs, over one without."""

    params = (["cancer", "digits-784"],)
    param_names = ("workload",)

    def compared(self, workload, fsync):
        made, epochs = problem(workload), EPOCHS[workload]
        with tempfile.TemporaryDirectory() as folder, patch("fastnet.files.durable.os.fsync", fsync):
            tasks = {
                "without": lambda: made.train(epochs, 1),
                "with": lambda: made.train(epochs, 1, callbacks=[Checkpoint(folder, every=10)]),
            }
            seconds = median_seconds(tasks, 7)
        return seconds["with"] / seconds["without"]

    def track_with_the_disk(self, workload):
        return self.compared(workload, os.fsync)

    track_with_the_disk.unit = "time with checkpoints / time without"

    def track_without_waiting_for_the_disk(self, workload):
        return self.compared(workload, lambda descriptor: None)

    track_without_waiting_for_the_disk.unit = "time with checkpoints / time without"
