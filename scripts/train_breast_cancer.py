"""Train 30-64-32-1 on the Wisconsin breast-cancer data (569 tumours, 30 measurements) and watch it learn.

python scripts/train_breast_cancer.py        (needs scikit-learn for the data, the extra fastnet-mlp[sklearn])
"""

import sys
import time

from fastnet import SGD, Dense, Model

EPOCHS = 40
EVERY = 10


def main() -> None:
    """Load, split and standardise the data, train, and report."""
    try:
        from sklearn.datasets import load_breast_cancer
        from sklearn.model_selection import train_test_split
    except ImportError:
        sys.exit(
            "This script takes its data from scikit-learn: pip install scikit-learn (the extra fastnet-mlp[sklearn])"
        )
    start = time.perf_counter()
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    mean, deviation = X_train.mean(axis=0), X_train.std(axis=0)
    X_train, X_test = (X_train - mean) / deviation, (X_test - mean) / deviation

    model = Model(
        [Dense(64, "relu"), Dense(32, "relu"), Dense(1, "sigmoid")],
        optimizer=SGD(learning_rate=0.1),
        l2=0.01,
        seed=0,
    )
    model.build(X_train.shape[1])
    print(model.summary())
    print("\nTraining\n", flush=True)
    seconds = compile_seconds = 0.0
    for epoch in range(0, EPOCHS, EVERY):
        history = model.fit(X_train, y_train, epochs=EVERY, batch_size=32, verbose=False)
        seconds += history.seconds
        compile_seconds += history.compile_seconds
        print(f"epochs {epoch + 1:2d} to {epoch + EVERY:2d}  cost {history.cost[0]:.4f} to {history.cost[-1]:.4f}")
    print()
    print(f"train accuracy {model.evaluate(X_train, y_train)['accuracy']:.4f}  ({len(X_train)} examples)")
    print(f"test accuracy  {model.evaluate(X_test, y_test)['accuracy']:.4f}  ({len(X_test)} examples)")
    print(
        f"{seconds:.3f} s of training, {compile_seconds:.2f} s of compiling or loading kernels, "
        f"{time.perf_counter() - start:.2f} s in all"
    )


if __name__ == "__main__":
    main()
