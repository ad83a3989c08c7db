"""Read handwritten digits: 64-64-32-10 on scikit-learn's 1,797 pictures of 8 x 8 pixels.

python examples/digits.py                         (needs scikit-learn for the data, the extra fastnet-mlp[sklearn])
python examples/digits.py --picture digits.png    (and matplotlib, the extra fastnet-mlp[plot])

--quick has less patience. The picture, of the costs and accuracies of each epoch, is written only where --picture says.
"""

import argparse
import sys

import numpy as np

from fastnet import Adam, Dense, Dropout, EarlyStopping, History, Model


def print_confusion(true: np.ndarray, predicted: np.ndarray) -> None:
    """Print how often each digit was taken for each; a dot is a zero."""
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (true, predicted), 1)
    print("\ntrue    read as" + "".join(f"{digit:4}" for digit in range(10)))
    for digit, row in enumerate(counts):
        print(f"{digit:4}{'':11}" + "".join(f"{count or '.':>4}" for count in row))


def draw(history: History, path: str) -> None:
    """Draw the course of the training, in which the epoch that was kept is marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    ax = history.plot(figure.subplots())
    ax.set_title("Handwritten digits, 64-64-32-10")
    figure.savefig(path, dpi=120)
    print(f"\nwrote {path}")


def main() -> None:
    """Hold out a fifth for the test, train on the rest until the validation cost stops falling, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less patience")
    parser.add_argument("--picture", metavar="FILE.png", help="draw the course of the training there")
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

    X, y = load_digits(return_X_y=True)
    X = X / 16  # ink of 0 to 16: all pixels keep one scale
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)
    layers = [Dense(64, "relu"), Dropout(0.2), Dense(32, "relu"), Dense(10, "softmax")]
    model = Model(layers, optimizer=Adam(0.002), l2=0.01, seed=0)
    stopping = EarlyStopping(patience=10 if arguments.quick else 30)
    history = model.fit(
        X_train,
        y_train,
        epochs=300,
        batch_size=32,
        validation_split=0.15,
        metrics=["accuracy"],
        callbacks=[stopping],
        verbose=False,
    )
    best = stopping.best_epoch
    print(f"{history.epochs} epochs in {history.seconds:.2f} s; the best, and kept, was epoch {best + 1}\n")
    print(f"{'':12} {'cost':>7} {'accuracy':>8}")
    print(f"{'training':12} {history.cost[best]:7.4f} {history.accuracy[best]:8.4f}")
    print(f"{'validation':12} {history.val_cost[best]:7.4f} {history.val_accuracy[best]:8.4f}")
    test = model.evaluate(X_test, y_test)
    print(f"{'test':12} {test['cost']:7.4f} {test['accuracy']:8.4f}  ({len(X_test)} digits)")
    print_confusion(y_test, model.predict(X_test))
    if arguments.picture:
        draw(history, arguments.picture)
    if test["accuracy"] < 0.97:
        sys.exit("Not as claimed: 97 % of the digits of the test should be read.")


if __name__ == "__main__":
    main()
