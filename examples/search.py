"""Search a learning rate and a width on a validation set, then test the winner once.

A hidden layer of ReLUs on scikit-learn's 1,797 handwritten digits, by gradient descent: every width with every learning
rate, each half a decade from the next, since it is orders of magnitude that matter.

python examples/search.py                         (needs scikit-learn for the data, the extra fastnet-mlp[sklearn])
python examples/search.py --picture search.png    (and matplotlib, the extra fastnet-mlp[plot])

--quick searches a coarser grid. The picture, a map of the validation costs, is written only where --picture says.
"""

import argparse
import sys

import numpy as np

from fastnet import SGD, Dense, Model


def trained(X: np.ndarray, y: np.ndarray, width: int, rate: float, epochs: int) -> Model:
    """Return a network of that width, trained at that learning rate."""
    model = Model([Dense(width, "relu"), Dense(10, "softmax")], optimizer=SGD(rate), seed=0)
    model.fit(X, y, epochs=epochs, batch_size=32, verbose=False)
    return model


def draw(costs: np.ndarray, widths: list[int], rates: np.ndarray, path: str) -> None:
    """Draw the map, with the best in a frame."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    figure = Figure(figsize=(8, 4.6), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(costs, norm=LogNorm(), cmap="viridis_r", aspect="auto", origin="lower")
    middle = np.sqrt(costs.min() * costs.max())
    for (row, column), cost in np.ndenumerate(costs):
        colour = "white" if cost > middle else "black"
        ax.text(column, row, f"{cost:.3f}", ha="center", va="center", color=colour, fontsize=9)
    row, column = np.unravel_index(costs.argmin(), costs.shape)
    ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="#D55E00", linewidth=3))
    ax.set(xlabel="learning rate", ylabel="width", title="Validation cost")
    ax.set_xticks(range(len(rates)), [f"{rate:.2g}" for rate in rates])
    ax.set_yticks(range(len(widths)), [str(width) for width in widths])
    figure.colorbar(image, label="cost", ticks=[0.2, 0.5, 1, 2], format="%g").minorticks_off()
    figure.savefig(path, dpi=120)
    print(f"\nwrote {path}")


def main() -> None:
    """Split in three, search, train the best again on all that is not for the test, and test that."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a coarser grid")
    parser.add_argument("--picture", metavar="FILE.png", help="draw the map of validation costs there")
    arguments = parser.parse_args()
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError:
        sys.exit(
            "This script takes its data from scikit-learn: pip install scikit-learn (the extra fastnet-mlp[sklearn])"
        )
    if arguments.picture:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            sys.exit("The picture is drawn with matplotlib: pip install matplotlib (the extra fastnet-mlp[plot])")

    widths, decades, epochs = [4, 8, 16, 32, 64, 128], np.arange(-3, 1.5, 0.5), 60
    if arguments.quick:
        widths, decades, epochs = [8, 32, 128], np.arange(-3, 2), 20
    rates = 10.0**decades
    X, y = load_digits(return_X_y=True)
    X = X / 16
    X_rest, X_test, y_rest, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)
    X_train, X_val, y_train, y_val = train_test_split(X_rest, y_rest, test_size=0.25, stratify=y_rest, random_state=0)

    costs, accuracies = np.zeros((2, len(widths), len(rates)))
    for row, column in np.ndindex(costs.shape):
        scores = trained(X_train, y_train, widths[row], rates[column], epochs).evaluate(X_val, y_val)
        costs[row, column], accuracies[row, column] = scores["cost"], scores["accuracy"]

    print("validation: cost  accuracy   width  learning rate")
    order = np.argsort(costs, axis=None)
    for place, index in enumerate(order):
        row, column = np.unravel_index(index, costs.shape)
        if place < 5 or place >= len(order) - 3:
            print(f"{costs[row, column]:16.4f} {accuracies[row, column]:9.4f} {widths[row]:7} {rates[column]:14.2g}")
        elif place == 5:
            print(f"{'...':>16}  ({len(order)} in all)")
    row, column = np.unravel_index(order[0], costs.shape)
    best = trained(X_rest, y_rest, widths[row], rates[column], epochs)
    accuracy = best.evaluate(X_test, y_test)["accuracy"]
    print(f"\nthe best, trained again with the validation set: test accuracy {accuracy:.4f}  ({len(X_test)} digits)")
    if arguments.picture:
        draw(costs, widths, rates, arguments.picture)
    if accuracy < 0.96 or costs.max() < 5 * costs.min():
        sys.exit("Not as claimed: the choice should matter, and the best read 96 % of the digits of the test.")


if __name__ == "__main__":
    main()
