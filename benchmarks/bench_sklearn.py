"""fastnet.sklearn: how many times as fast as scikit-learn's MLP, alternating in one run; see `sklearn_mlp.py`."""

import warnings
from functools import partial

from sklearn.exceptions import ConvergenceWarning

from benchmarks.sklearn_mlp import ENDLESS, compare, ours, predict_often, problems, theirs


class AgainstScikitLearn:
    """One thread: run with OPENBLAS_NUM_THREADS=1."""

    param_names = ("problem", "dtype")
    params = (["breast cancer", "digits"], ["float64", "float32"])
    timeout = 300

    def setup(self, problem: str, dtype: str) -> None:
        warnings.simplefilter("ignore", ConvergenceWarning)
        X, y, arguments = problems()[problem]
        self.X, self.y = X.astype(dtype), y
        self.both = [
            kind(**{**arguments, **ENDLESS, "max_iter": 20}).fit(self.X, y)
            for kind in (ours.MLPClassifier, theirs.MLPClassifier)
        ]

    def track_fit(self, problem: str, dtype: str) -> float:
        return compare(*(partial(each.fit, self.X, self.y) for each in self.both), 3)[2]

    def track_predict_one_row(self, problem: str, dtype: str) -> float:
        return compare(*(partial(predict_often, each, self.X[:1]) for each in self.both), 5)[2]

    track_fit.unit = track_predict_one_row.unit = "times as fast"  # type: ignore[attr-defined]
