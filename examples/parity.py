"""Learn the parity of n bits, whether the number of ones is odd: deep against shallow.

The course's example of what depth is for. A tree of exclusive ors needs two units a pair, in about log2(n) layers; one
hidden layer of *and* gates needs 2^(n-1) units, one for each odd pattern. Here the tree is built by hand, of ReLUs;
then both shapes are trained from random weights on all 2^n patterns, to see what training finds.

It finds something else. A hidden unit is no *and* gate: it adds up weighted bits, and n such units in one layer can do.
Training gets there with up to twice as many. Depth lets the layers be narrower, but at these sizes the deep network has
as many parameters or more.

python examples/parity.py        (needs nothing but fastnet)

--quick takes n = 4 and 6, and fewer seeds.
"""

import argparse
import itertools
import math
import sys

import numpy as np

from fastnet import Adam, Dense, Model

WIDTHS = range(2, 33)
EPOCHS, ROUND = 4000, 250


def patterns(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all 2^n patterns of n bits, in rows, and whether each has an odd number of ones."""
    X = np.array(list(itertools.product([0.0, 1.0], repeat=n)))
    return X, X.sum(axis=1) % 2


def tree(n: int) -> Model:
    """Return the tree: a xor b = relu(a - b) + relu(b - a), pair by pair; an odd one out goes up as it is."""
    matrices = []
    gather = np.eye(n)  # what makes the bits of this level from the units of the level below
    while len(gather) > 1:
        pairs, single = divmod(len(gather), 2)
        W = np.kron(np.eye(pairs + single), [[1.0, -1.0], [-1.0, 1.0]])
        join = np.kron(np.eye(pairs + single), [[1.0, 1.0]])
        if single:
            W, join = W[:-1, :-1], join[:, :-1]
        matrices.append(W @ gather)
        gather = join
    model = Model([*[Dense(len(W), "relu") for W in matrices], Dense(1, "sigmoid")])
    model.build(n)
    for layer, W in zip(model.layers, [*matrices, 20 * gather], strict=True):
        layer.W = W
    model.layers[-1].b = [[-10.0]]  # so that the sigmoid tells 1 from 0
    return model


def learns(X: np.ndarray, y: np.ndarray, width: int, depth: int, seed: int) -> bool:
    """Return whether `depth` hidden layers of `width` tanh units come to know every pattern."""
    hidden = [Dense(width, "tanh") for _ in range(depth)]
    model = Model([*hidden, Dense(1, "sigmoid")], optimizer=Adam(0.01), seed=seed)
    for _ in range(EPOCHS // ROUND):
        model.fit(2 * X - 1, y, epochs=ROUND, batch_size=None, verbose=False)
        if model.evaluate(2 * X - 1, y)["accuracy"] == 1:
            return True
    return False


def smallest(n: int, depth: int, seeds: int, share: float) -> tuple[int, int]:
    """Return the first width at which more than that share of the seeds learn parity, and how many do."""
    X, y = patterns(n)
    for width in WIDTHS:
        learned = sum(learns(X, y, width, depth, seed) for seed in range(seeds))
        if learned > share * seeds:
            return width, learned
    sys.exit(f"Not as claimed: with {depth} hidden layers no width up to {WIDTHS[-1]} learns the parity of {n} bits.")


def main() -> None:
    """Build and train, and print how many units and parameters each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="n = 4 and 6, and fewer seeds")
    quick = parser.parse_args().quick
    seeds = 4 if quick else 10
    print(f"All know every pattern. Trained: the smallest width that most of {seeds} seeds learn with.\n")
    print(f" n  patterns  {'':17} {'hidden units':>14}  parameters  seeds that learn  and gates")
    for n in (4, 6) if quick else (4, 6, 8):
        depth = math.ceil(math.log2(n))
        X, y = patterns(n)
        built = tree(n)
        if built.evaluate(X, y)["accuracy"] < 1:
            sys.exit(f"Not as claimed: the tree does not know the parity of {n} bits.")
        shapes = {f"tree, {depth} layers": ([layer.units for layer in built.layers[:-1]], "built")}
        for layers in (depth, 1):
            width, learned = smallest(n, layers, seeds, 0.5)
            name = f"trained, {layers} layer{'s' * (layers > 1)}"
            shapes[name] = ([width] * layers, f"{learned} of {seeds}")
        for name, (units, learned) in shapes.items():
            sizes = [n, *units, 1]
            parameters = sum((before + 1) * after for before, after in itertools.pairwise(sizes))
            if n > 4 and sum(units) >= 2 ** (n - 1):
                sys.exit(f"Not as claimed: {name} of {n} bits should take fewer units than there are odd patterns.")
            total = f"{' + '.join(map(str, units))} = {sum(units)}" if len(units) > 1 else str(sum(units))
            print(f"{n:2}  {2**n:8}  {name:17} {total:>14}  {parameters:10}  {learned:>16}  {2 ** (n - 1):9}")


if __name__ == "__main__":
    main()
