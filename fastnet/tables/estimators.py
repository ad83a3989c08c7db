"""The estimators for tables, and `load`, which reads them from files."""

from __future__ import annotations

from typing import Any

from fastnet.tables import files
from fastnet.tables.classifier import TableClassifier
from fastnet.tables.regressor import TableRegressor

__all__ = ["TableClassifier", "TableRegressor", "load"]

CLASSES = {kind.__name__: kind for kind in (TableClassifier, TableRegressor)}


def load(path: Any, *, check_finite: bool = True) -> TableClassifier | TableRegressor:
    """Return the estimator that `save` wrote to a file: it predicts as that one does, to the bit.

    Nothing in a file is ever run or imported, and one of which a byte was changed is refused.

    Parameters
    ----------
    path : str or os.PathLike
    check_finite : bool, default True
        Refuse parameters that are infinite or NaN.

    Raises
    ------
    FileFormatError
        If the file is not such a file, whatever is wrong with it.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> from fastnet.tables import TableRegressor, load
    >>> model = TableRegressor(random_state=0).fit([[1.0, "a"], [2.0, "b"]] * 20, [3.0, 4.0] * 20)
    >>> model.save("model.fastnet")
    >>> row = [[1.5, "a"]]
    >>> bool(load("model.fastnet").predict(row) == model.predict(row))
    True
    """
    found: TableClassifier | TableRegressor = files.read(path, CLASSES, check_finite)
    return found
