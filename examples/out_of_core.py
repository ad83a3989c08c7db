"""Train on a table that the program has not the memory for, from a file on disk.

The table is made block by block; then the program allows itself a third of its size in memory of its own (Linux counts
that, RLIMIT_DATA; elsewhere the limit is left out), shows that the table does not fit into it, and trains on all of it
by `fastnet.streams.MemmapStream`: blocks in random order, rows shuffled among some blocks at a time.

python examples/out_of_core.py                        (needs nothing but fastnet, and 2.1 GB of disk)
python examples/out_of_core.py --picture order.png    (and matplotlib, the extra fastnet-mlp[plot])

--quick makes two fifths of the table. The picture shows what shuffling by blocks does: which row comes when.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fastnet import Adam, Dense, Model
from fastnet.streams import MemmapStream

FEATURES, SHARD_ROWS, HELD_OUT = 64, 400_000, 50_000


def rows(shard: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of the table, X (n, FEATURES) and y (n,): whether two hidden waves agree."""
    X = np.random.default_rng(shard).standard_normal((n, FEATURES), dtype=np.float32)
    y = np.sign(np.sin(2 * X[:, 0])) == np.sign(X[:, 1] + X[:, 2])
    return X, y.astype(np.float32)


def write(folder: Path, shards: int) -> tuple[list[Path], list[Path]]:
    """Write the table, and return the files of X and y."""
    names = [[folder / f"{name}{shard}.npy" for shard in range(shards)] for name in "Xy"]
    for shard, paths in enumerate(zip(*names, strict=True)):
        for path, array in zip(paths, rows(shard, SHARD_ROWS), strict=True):
            np.save(path, array)
    return names[0], names[1]


def limit_memory(n_bytes: int) -> bool:
    """Allow the process that much memory of its own, and what it has; return whether the system can."""
    if not sys.platform.startswith("linux"):
        return False
    import resource

    status = Path("/proc/self/status").read_text().split()
    has = 1024 * int(status[status.index("VmData:") + 1])
    resource.setrlimit(resource.RLIMIT_DATA, (has + n_bytes, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    return True


def draw(path: str) -> None:
    """Draw which row comes when in an epoch: as they lie, from a stream, and shuffled all together."""
    from matplotlib.figure import Figure

    m, blocks, buffer = 20_000, 100, 10
    rng = np.random.default_rng(0)
    by_blocks = rng.permutation(m // blocks)[:, np.newaxis] * blocks + np.arange(blocks)
    orders = {
        "as they lie: shuffle=False": np.arange(m),
        "a stream that comes in its order": rng.permuted(np.arange(m).reshape(-1, buffer * blocks), axis=1).ravel(),
        "a stream of blocks in any order": rng.permuted(by_blocks.reshape(-1, buffer * blocks), axis=1).ravel(),
        "in memory": rng.permutation(m),
    }
    figure = Figure(figsize=(10, 3), layout="constrained")
    for ax, (title, order) in zip(figure.subplots(1, 4, sharey=True), orders.items(), strict=True):
        ax.plot(order, ",", color="#0072B2", alpha=0.6)
        ax.set_title(title, fontsize=9)
        ax.set_xlabel("place in the epoch")
    figure.axes[0].set_ylabel("row of the table")
    figure.savefig(path, dpi=120)
    print(f"\nwrote {path}")


def main() -> None:
    """Make the table, train on it, and test on rows that are not in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two fifths of the table")
    parser.add_argument("--picture", metavar="FILE.png", help="draw the orders there")
    arguments = parser.parse_args()
    if arguments.picture:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            sys.exit("The picture is drawn with matplotlib: pip install matplotlib (the extra fastnet-mlp[plot])")
    shards = 8 if arguments.quick else 20
    with tempfile.TemporaryDirectory() as folder:
        X_files, y_files = write(Path(folder), shards)
        size = sum(os.path.getsize(path) for path in X_files)
        model = Model([Dense(64, "relu"), Dense(32, "relu"), Dense(1, "sigmoid")], optimizer=Adam(0.003), seed=0)
        model.fit(*rows(-1 % 2**32, 1000), epochs=1, verbose=False)  # whatever is to be compiled is by now
        model.build(FEATURES)
        stream = MemmapStream(X_files, y_files)
        X_test, y_test = rows(2**31, HELD_OUT)
        limited = limit_memory(size // 3)
        fits = True
        try:
            np.ones(size, np.uint8)
        except MemoryError:
            fits = False
        start = time.perf_counter()
        history = model.fit(stream, epochs=2, batch_size=256, validation_data=(X_test, y_test), metrics=["accuracy"])
        seconds = time.perf_counter() - start
    m = shards * SHARD_ROWS
    print(f"table on disk    {size / 1e6:8.0f} MB, {m} rows of {FEATURES} features in {shards} files")
    print(f"memory           {'the table does not fit' if not fits else 'not limited on this system'}")
    print(f"two epochs       {seconds:8.1f} s, {2 * m / seconds:.0f} rows/s")
    for epoch, accuracy in enumerate(history.val_accuracy, start=1):
        print(f"epoch {epoch}          {accuracy:8.3f} accuracy on {HELD_OUT} other rows")
    if arguments.picture:
        draw(arguments.picture)
    if history.val_accuracy[-1] < 0.9 or (limited and fits):
        sys.exit("It should tell 90 % of the other rows, in less memory than the table takes.")


if __name__ == "__main__":
    main()
