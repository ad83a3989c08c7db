"""Estimators for tables as they come: numbers on any scale, categories, text, dates, gaps; needs scikit-learn.

Several networks, each of which validates on another part of the rows, on one encoding of the table: see the guide,
"Raw tables".
"""

from typing import TYPE_CHECKING

from fastnet.tables.encoder import TableEncoder

if TYPE_CHECKING:
    from fastnet.tables.estimators import TableClassifier, TableRegressor, load

__all__ = ["TableClassifier", "TableEncoder", "TableRegressor", "load"]


def __getattr__(name: str) -> object:
    """Import what needs scikit-learn when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"fastnet.tables has no {name!r}.", name=name)
    try:
        from sklearn.utils.validation import validate_data as _since_version_1_6  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'fastnet.tables needs scikit-learn 1.6 or later: pip install "scikit-learn>=1.6" (the extra '
            "fastnet-mlp[tables])."
        ) from error
    from fastnet.tables import estimators

    return getattr(estimators, name)
