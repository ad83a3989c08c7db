"""What the estimators are given, in forms that scikit-learn can check; in our words, what it cannot."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastnet import checks
from fastnet.engine.diagnostics import ROWS_LOOKED_AT
from fastnet.engine.examples import Data
from fastnet.errors import may_get_lost

LARGEST_RATIO = 1e3
"""Of the largest feature to train with to that to validate with, or the reverse, that is no accident."""


def readable(values: Any, name: str) -> Any:
    """Return what scikit-learn can read, such as bfloat16 in float32; ValueError for masks, which it overlooks."""
    checks.refuse_masked(values, name)
    numbers = checks.numbers_of_frame(values)
    if numbers is not None:  # a frame, or a series, again, with its names
        names = {"columns": values.columns} if numbers.ndim == 2 else {}
        return type(values)(numbers, index=values.index, **names)
    dtype = getattr(values, "dtype", None)
    is_unknown = getattr(dtype, "kind", "") == "V" or getattr(dtype, "isbuiltin", 1) == 2
    is_unknown |= hasattr(values, "__dlpack__") and not hasattr(values, "__array__")
    return checks.real_array(values, name) if is_unknown else values


@contextmanager
def in_our_words(**arrays: Any) -> Iterator[None]:
    """Say which of some arrays cannot be read at all, if scikit-learn's checks of them fail."""
    try:
        yield
    except Exception:
        for name, values in arrays.items():
            checks.read(values, name)
        raise


def one_eval_set(eval_set: Any, X_val: Any, y_val: Any, sample_weight_val: Any) -> Any:
    """Return `eval_set`, or what the other arguments make of one; ValueError if it is given by both, or in part."""
    given = X_val, y_val, sample_weight_val
    if all(each is None for each in given):
        return eval_set
    if eval_set is not None:
        raise ValueError("Pass eval_set, or X_val and y_val, not both.")
    if X_val is None or y_val is None:
        raise ValueError("X_val and y_val belong together: pass both.")
    return given


def parts_of_eval_set(eval_set: Any) -> tuple[Any, Any, Any]:
    """Return X, y and the weights, or None, of `eval_set`; ValueError unless it is one tuple of them."""
    if isinstance(eval_set, list) and len(eval_set) == 1:
        eval_set = eval_set[0]
    if not isinstance(eval_set, tuple) or len(eval_set) not in (2, 3):
        raise ValueError(
            "eval_set must be (X, y) or (X, y, sample_weight), or a list of one such tuple, not a "
            f"{type(eval_set).__name__}" + (f" of {len(eval_set)}." if hasattr(eval_set, "__len__") else ".")
        )
    X, y, weights = (*eval_set, None)[:3]
    return X, y, weights


def factors_of_classes(class_weight: Mapping[Any, Any], classes: np.ndarray, stacklevel: int) -> np.ndarray:
    """Return the weight of each class, 1 of one that `class_weight` leaves out; warn of what is none of them."""
    factors = np.ones(len(classes))
    known = {label: number for number, label in enumerate(classes.tolist())}
    for label, weight in class_weight.items():
        label = label.item() if isinstance(label, np.generic) else label
        if label not in known:
            with may_get_lost():
                warnings.warn(
                    f"class_weight has the class {label!r}, which is none of {classes.tolist()}, the classes of y: it "
                    "counts for nothing.",
                    stacklevel=stacklevel,
                )
            continue
        factors[known[label]] = checks.real_number(weight, f"class_weight[{label!r}]", "a finite number")
    return factors


def refuse_factors(factors: np.ndarray, class_weight: Any) -> None:
    """Raise ValueError if weights by class are infinite, NaN or negative."""
    if not np.isfinite(factors).all() or (factors < 0).any():
        raise ValueError(f"class_weight must hold finite numbers of at least 0, not {class_weight!r}.")


def warn_of_another_scale(trained: Data, held_out: Data, stacklevel: int) -> None:
    """Warn if features to validate with are a thousand times as large as those to train with, or as small."""
    dense = [data.X for data in (trained, held_out) if isinstance(data.X, np.ndarray)]
    if len(dense) < 2:
        return
    sizes = [float(np.abs(X[:: -(-len(X) // ROWS_LOOKED_AT)]).max()) for X in dense]
    if max(sizes) > LARGEST_RATIO * min(sizes) > 0:
        with may_get_lost():
            warnings.warn(
                f"The features to validate with reach {sizes[1]:.3g}, those to train with {sizes[0]:.3g}: they are "
                "not scaled alike. A Pipeline scales what is passed as X_val, with transform_input=['X_val'].",
                stacklevel=stacklevel,
            )


def takes_weights(scorer: Any) -> bool:
    """Return whether a scorer, of scikit-learn or a function of estimator, X and y, takes sample_weight too."""
    of_sklearn = getattr(scorer, "_accept_sample_weight", None)
    if of_sklearn is not None:
        return bool(of_sklearn())
    metric = getattr(scorer, "_score_func", None) or scorer  # of scikit-learn before 1.5
    parameters = inspect.signature(metric).parameters.values()
    return any(each.name == "sample_weight" or each.kind is each.VAR_KEYWORD for each in parameters)
