"""scikit-learn's MLPClassifier and MLPRegressor, on fastnet's engine; needs the extra fastnet-mlp[sklearn].

Change the import line, and a program that uses scikit-learn's classes goes on: same arguments, methods, attributes,
initial weights, shuffles, batches, stopping rules and warnings. From the same `random_state` comes the same network,
but for rounding.
"""

try:
    from sklearn.utils.validation import validate_data as _since_version_1_6  # noqa: F401
except ImportError as error:
    raise ImportError(
        'fastnet.sklearn needs scikit-learn 1.6 or later: pip install "scikit-learn>=1.6" (the extra '
        "fastnet-mlp[sklearn])."
    ) from error

from fastnet.sklearn.estimators import MLPClassifier, MLPRegressor, from_sklearn, load
from fastnet.sklearn.onnx_converter import register_onnx

__all__ = ["MLPClassifier", "MLPRegressor", "from_sklearn", "load", "register_onnx"]
