"""Predict a number from few data: a network against linear regression, and against itself without brakes.

442 patients, 10 measurements each, and how far their diabetes has gone a year later: scikit-learn's diabetes data, in
five folds. So few rows hold little but a straight line. L2 and early stopping keep the network as good; without them
it learns the noise.

python examples/diabetes.py        (needs scikit-learn for the data, the extra fastnet-mlp[sklearn])

--quick goes through two of the folds.
"""

import argparse
import sys

import numpy as np

from fastnet import Adam, Dense, EarlyStopping, Model

FOLDS = 5


def the_mean(X: np.ndarray, y: np.ndarray) -> Model:
    """Return what always answers 0, the mean of y once it is standardised: one unit, left as it starts."""
    model = Model([Dense(1, initializer="zeros")])
    model.build(X.shape[1])
    return model


def linear_regression(X: np.ndarray, y: np.ndarray) -> Model:
    """Return one linear unit, trained in full batches until it is the least-squares fit."""
    model = Model([Dense(1)], optimizer=Adam(0.02), seed=0)
    model.fit(X, y, epochs=1500, batch_size=None, verbose=False)
    return model


def network(X: np.ndarray, y: np.ndarray) -> Model:
    """Return 32-16-1, held back by L2 and stopped when a fifth of the rows, held out, says so."""
    model = Model([Dense(32, "tanh"), Dense(16, "tanh"), Dense(1)], optimizer=Adam(0.003), l2=1.0, seed=0)
    stopping = EarlyStopping(patience=20)
    model.fit(X, y, epochs=300, batch_size=32, validation_split=0.2, callbacks=[stopping], verbose=False)
    return model


def network_unchecked(X: np.ndarray, y: np.ndarray) -> Model:
    """Return the same network, trained for 300 epochs with nothing to hold it back."""
    model = Model([Dense(32, "tanh"), Dense(16, "tanh"), Dense(1)], optimizer=Adam(0.003), seed=0)
    model.fit(X, y, epochs=300, batch_size=32, verbose=False)
    return model


METHODS = {
    "the mean of y": the_mean,
    "linear regression": linear_regression,
    "network": network,
    "network, unchecked": network_unchecked,
}


def main() -> None:
    """Train on four folds, predict the fifth, and report the mean over the folds; X and y standardised by the four."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two folds of the five")
    arguments = parser.parse_args()
    try:
        from sklearn.datasets import load_diabetes
        from sklearn.model_selection import KFold
    except ImportError:
        sys.exit(
            "This script takes its data from scikit-learn: pip install scikit-learn (the extra fastnet-mlp[sklearn])"
        )
    X, y = load_diabetes(return_X_y=True, scaled=False)
    folds = list(KFold(FOLDS, shuffle=True, random_state=0).split(X))[: 2 if arguments.quick else FOLDS]

    scores: dict[str, list[dict[str, float]]] = {}
    for train, test in folds:
        X_mean, X_deviation = X[train].mean(axis=0), X[train].std(axis=0)
        y_mean, y_deviation = y[train].mean(), y[train].std()
        X_fold, y_fold = (X - X_mean) / X_deviation, (y - y_mean) / y_deviation
        for name, fit in METHODS.items():
            scores.setdefault(name, []).append(
                fit(X_fold[train], y_fold[train]).evaluate(X_fold[test], y_fold[test], ["r2", "mae"])
            )
            scores[name][-1]["mae"] *= y_deviation  # in the unit of y
    print(f"{'':24} {'R2':>6} {'MAE':>6}   R2 of each fold")
    r2 = {}
    for name, of_folds in scores.items():
        r2[name] = np.mean([score["r2"] for score in of_folds])
        error = np.mean([score["mae"] for score in of_folds])
        print(f"{name:24} {r2[name]:6.3f} {error:6.1f}   " + " ".join(f"{score['r2']:6.3f}" for score in of_folds))
    if not (r2["network"] > r2["linear regression"] - 0.03 and r2["network"] > r2["network, unchecked"] + 0.1):
        sys.exit("Not as claimed: the network should be as good as linear regression, and need its L2 and its stop.")


if __name__ == "__main__":
    main()
