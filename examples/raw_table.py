"""From a raw CSV file to predictions: text, categories, dates and gaps need no preparation.

A file of 3,000 used cars is made up; the ten lines of `main` that follow are the story.

python examples/raw_table.py    (needs pandas, and scikit-learn: the extra fastnet-mlp[tables])

--quick has a third of the cars.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np


def write_cars(path: Path, n: int) -> None:
    """Write a CSV file of n used cars, as people enter them: with gaps, and some columns that say nothing."""
    rng = np.random.default_rng(0)
    make = rng.choice(["Audi", "Fiat", "Saab", "Skoda"], n)
    fuel = rng.choice(["petrol", "diesel", "electric", ""], n, p=[0.5, 0.3, 0.1, 0.1])
    days = rng.integers(0, 4000, n)
    km = rng.exponential(20, n) * days
    worth = {"Audi": 45_000, "Fiat": 20_000, "Saab": 30_000, "Skoda": 25_000}
    price = np.array([worth[each] for each in make]) * 0.86 ** (days / 365) * np.exp(-km / 250_000)
    price *= np.where(fuel == "electric", 1.2, 1) * np.exp(0.05 * rng.normal(size=n))
    registered = np.datetime64("2021-01-01") - days
    shown_km = np.where(rng.random(n) < 0.1, "", km.round().astype(int).astype(str))
    with path.open("w") as file:
        file.write("make,fuel,registered,km,country,price\n")
        for row in zip(make, fuel, registered, shown_km, ["DE"] * n, price.round(2), strict=True):
            file.write(",".join(map(str, row)) + "\n")


def main() -> None:
    """Tell the story."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    n = 1000 if parser.parse_args().quick else 3000
    try:
        import pandas as pd

        from fastnet.tables import TableRegressor
    except ImportError:
        raise SystemExit(
            "This story needs pandas and scikit-learn: pip install pandas scikit-learn (the extra fastnet-mlp[tables])."
        ) from None

    with tempfile.TemporaryDirectory() as folder:
        write_cars(Path(folder) / "cars.csv", n)
        cars = pd.read_csv(Path(folder) / "cars.csv", parse_dates=["registered"])

    price, held_out = cars.pop("price"), n // 5
    model = TableRegressor(random_state=0).fit(cars[held_out:], price[held_out:])
    print(model.encoder_)
    print(f"R2 of cars that it has not seen: {model.score(cars[:held_out], price[:held_out]):.3f}")
    low, high = model.predict_quantiles(cars[:held_out], (0.1, 0.9)).T
    inside = np.mean((price[:held_out] > low) & (price[:held_out] < high))
    print(f"of their prices, {inside:.0%} lie between the 10 % and the 90 % quantile")
    for name, importance in zip(cars, model.feature_importances_, strict=True):
        print(f"{name:12s} {importance:.3f}")
    if model.score(cars[:held_out], price[:held_out]) < 0.9:
        raise SystemExit("The story does not hold.")


if __name__ == "__main__":
    main()
