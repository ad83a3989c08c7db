"""Estimators for tables as they come: numbers on any scale, categories, text, dates, gaps; needs scikit-learn.

Several networks, each of which validates on another part of the rows, on one encoding of the table: see the guide,
"Tables".
"""

try:
    from sklearn.utils.validation import validate_data as _since_version_1_6  # noqa: F401
except ImportError as error:
    raise ImportError(
        'fastnet.tables needs scikit-learn 1.6 or later: pip install "scikit-learn>=1.6" (the extra '
        "fastnet-mlp[tables])."
    ) from error

from fastnet.tables.encoder import TableEncoder
from fastnet.tables.estimators import TableClassifier, TableRegressor
from fastnet.tables.files import load

__all__ = ["TableClassifier", "TableEncoder", "TableRegressor", "load"]
