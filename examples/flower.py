"""The "flower" of the deep-learning course: four tanh units draw petals where logistic regression draws a line.

python examples/flower.py                         (needs nothing but fastnet)
python examples/flower.py --picture flower.png    (needs matplotlib, the extra fastnet-mlp[plot])

--quick takes fewer iterations. The picture is written only where --picture says.
"""

import argparse
import sys

import numpy as np

from fastnet import SGD, Dense, Model, Normal
from fastnet.plot import decision_boundary


def flower(m: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Return X (m, 2) and y (m,), the course's own points: two classes, petals of r = 4 sin(4 theta), and noise."""
    rng = np.random.RandomState(1)  # the generator that the course seeds
    X, y = [], []
    for j in range(2):
        theta = np.linspace(j * 3.12, (j + 1) * 3.12, m // 2) + rng.randn(m // 2) * 0.2
        r = 4 * np.sin(4 * theta) + rng.randn(m // 2) * 0.2
        X.append(np.column_stack([r * np.sin(theta), r * np.cos(theta)]))
        y.append(np.full(m // 2, j))
    return np.concatenate(X), np.concatenate(y)


def draw(models: dict[str, Model], X: np.ndarray, y: np.ndarray, path: str) -> None:
    """Draw what each model predicts where, side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.4), layout="constrained")
    for ax, (name, model) in zip(figure.subplots(1, len(models)), models.items(), strict=True):
        decision_boundary(model, X, y, ax=ax)
        ax.set_title(f"{name}: accuracy {model.evaluate(X, y)['accuracy']:.1%}")
    figure.savefig(path, dpi=120)
    print(f"\nwrote {path}")


def main() -> None:
    """Train both on the same points, as the course does: gradient descent in full batches, learning rate 1.2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer iterations")
    parser.add_argument("--picture", metavar="FILE.png", help="draw both decision boundaries there")
    arguments = parser.parse_args()
    if arguments.picture:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            sys.exit("The picture is drawn with matplotlib: pip install matplotlib (the extra fastnet-mlp[plot])")

    X, y = flower()
    small = Normal(0.01)  # the course's randn * 0.01
    models = {
        "logistic regression": Model([Dense(1, "sigmoid", initializer=small)], optimizer=SGD(1.2), seed=3),
        "4 tanh units": Model(
            [Dense(4, "tanh", initializer=small), Dense(1, "sigmoid", initializer=small)], optimizer=SGD(1.2), seed=3
        ),
    }
    print(f"{'':20} {'parameters':>10} {'cost':>7} {'accuracy':>8} {'seconds':>8}")
    accuracy = {}
    for name, model in models.items():
        history = model.fit(X, y, epochs=3000 if arguments.quick else 10_000, batch_size=None, verbose=False)
        accuracy[name] = model.evaluate(X, y)["accuracy"]
        print(
            f"{name:20} {len(model.parameters):10} {history.cost[-1]:7.4f} {accuracy[name]:8.1%} {history.seconds:8.3f}"
        )
    if arguments.picture:
        draw(models, X, y, arguments.picture)
    line, petals = accuracy.values()
    if not (line < 0.6 and petals >= 0.88):
        sys.exit("Not as the course has it: about 47 % for logistic regression, 90 % for the network.")


if __name__ == "__main__":
    main()
