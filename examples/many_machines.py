"""Train one network on several processes, each with a part of the examples that no other has.

Each process, a *rank*, makes the rows of its own blocks, by their numbers, so that all ranks together have the same
examples however many they are; some may have none. A batch is one of all ranks too: each has its part of it. So the
networks of two numbers of ranks differ no more than those of two shuffles.

python examples/many_machines.py                     (one process)
mpiexec -n 2 python examples/many_machines.py        (two; needs mpi4py, the extra fastnet-mlp[mpi], and mpiexec)
mpiexec -n 2 python -m fastnet.mpi examples/many_machines.py      (an error in one ends all, wherever it is)

--quick takes fewer blocks and epochs.
"""

import argparse
import hashlib
import sys
from typing import Any

import numpy as np

from fastnet import Adam, Dense, Model

FEATURES, ROWS, BATCH = 16, 5_000, 256


def blocks(numbers: range) -> tuple[np.ndarray, np.ndarray]:
    """Return the examples of some blocks: whether the product of two features is greater than that of two others."""
    X = np.empty((len(numbers), ROWS, FEATURES), np.float32)
    for place, number in enumerate(numbers):
        X[place] = np.random.default_rng((7, number)).standard_normal((ROWS, FEATURES))
    X = X.reshape(-1, FEATURES)
    return X, X[:, 0] * X[:, 1] > X[:, 2] * X[:, 3]


def all_ranks() -> Any:
    """Return the communicator of all processes that mpiexec has started; None where there is no MPI."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError):  # it is there, but finds no MPI
        return None
    return MPI.COMM_WORLD


def main() -> None:
    """Make this rank's examples, train with all others, and compare what all have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer blocks and epochs")
    quick = parser.parse_args().quick
    n_blocks, epochs, claimed = (8, 4, 0.9) if quick else (40, 8, 0.97)

    world = all_ranks()
    rank, size = (0, 1) if world is None else (world.Get_rank(), world.Get_size())
    X, y = blocks(range(rank, n_blocks, size))
    X_val, y_val = blocks(range(n_blocks + rank, n_blocks + 4, size))

    model = Model([Dense(128, "relu"), Dense(64, "relu"), Dense(1, "sigmoid")], optimizer=Adam(0.003), seed=0)
    history = model.fit(
        X, y, epochs=epochs, batch_size=max(1, BATCH // size), metrics=["accuracy"], communicator=world,
        validation_data=(X_val, y_val),
    )  # fmt: skip

    digest = hashlib.sha256(model.parameters.tobytes()).hexdigest()[:8]
    found = [(rank, len(X), digest)] if world is None else world.allgather((rank, len(X), digest))
    if rank == 0:
        print(f"rank   rows  parameters after {history.epochs} epochs")
        for each, rows, of_rank in found:
            print(f"{each:4} {rows:6}  {of_rank}")
        print(f"\nvalidation accuracy {history.val_accuracy[-1]:.3f}, of the rows of all ranks")
    if len({of_rank for _, _, of_rank in found}) > 1 or history.val_accuracy[-1] < claimed:
        sys.exit(f"Not as claimed: all ranks should have the same network, right for {claimed:.0%}.")


if __name__ == "__main__":
    main()
