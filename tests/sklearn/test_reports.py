"""What was reported on other libraries' estimators, played on fastnet's."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.model_selection import cross_val_score

from fastnet.sklearn import MLPClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((65, 4))
SIGNS = (X[:, 0] > 0).astype(int)
THREE = np.digitize(X[:, 1], [-0.5, 0.5])
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0}


def assert_same_network(one, other):
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)


# scikit-learn #34883: labels that are texts of digits, #22413: not all classes in class_weight
@pytest.mark.parametrize(
    ("labels", "weights"),
    [
        (np.array(["0", "1"]), {"0": 1, "1": 5}),
        (np.array(["0", "1"], object), {"0": 1, "1": 5}),
        (np.array(["0", "1"]), {"1": 5}),
        (np.array([0, 1]), {1: 5}),
        (np.array([0, 1]), {np.int64(1): np.float32(5)}),
        (np.array([0.0, 1.0]), {1: 5}),
        (np.array([False, True]), {True: 5}),
        (np.array(["no", "yes"]), {"yes": 5.0}),
    ],
    ids=str,
)
def test_class_weights_by_label_of_any_kind(labels, weights):
    by_class = MLPClassifier(**SMALL, class_weight=weights).fit(X, labels[SIGNS])
    by_example = MLPClassifier(**SMALL).fit(X, labels[SIGNS], np.where(SIGNS, 5.0, 1.0))
    assert_same_network(by_class, by_example)
    in_parts = MLPClassifier(**SMALL, class_weight=weights).partial_fit(X, labels[SIGNS], classes=labels)
    in_parts.partial_fit(X[SIGNS == 0], labels[SIGNS[SIGNS == 0]])  # a batch that lacks the class


def test_a_fold_that_lacks_a_class_and_a_class_that_is_nowhere():
    rare = THREE.copy()
    rare[:3] = 7
    with pytest.warns(UserWarning, match=r"class_weight has the class 7, which is none of \[0, 1, 2\]"):
        scores = cross_val_score(
            MLPClassifier(**SMALL, class_weight={7: 2}), X, rare, cv=[(range(3, 65), range(3, 65))]
        )
    assert np.isfinite(scores).all()
    with pytest.warns(UserWarning, match="class_weight has the class 'x'"):
        MLPClassifier(**SMALL, class_weight={"x": 2}).fit(X, THREE)
    with pytest.raises(TypeError, match=r"class_weight\[1\] must be a finite number"):
        MLPClassifier(**SMALL, class_weight={1: "2"}).fit(X, THREE)


def test_class_weights_of_labels_of_which_one_is_left_out():
    labels = np.column_stack([SIGNS, THREE > 0])
    full = MLPClassifier(**SMALL, class_weight=[{0: 1, 1: 3}, {0: 1, 1: 1}]).fit(X, labels)
    assert_same_network(MLPClassifier(**SMALL, class_weight=[{1: 3}, {}]).fit(X, labels), full)
