"""Columns in files of Parquet, read a row group at a time."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnet import checks


class ParquetStream(Sequence[Any]):
    """A stream of the columns of one or several files of Parquet, a row group a block.

    Needs pyarrow, which the extra `fastnet-mlp[parquet]` brings. Files are read one row group at a time: write groups
    of some 100,000 rows, as by `pyarrow.parquet.write_table(row_group_size=)`.

    Parameters
    ----------
    path : str, os.PathLike, or a list of them
        A file, a folder, or a pattern such as "data/*.parquet"; in the order of their names.
    target : str or list of str
        The column, or columns, of y.
    features : list of str, optional
        The columns of X; None: all others of the first file, but `sample_weight` and those of the index of a frame.
    sample_weight : str, optional
        The column of the weights.

    Raises
    ------
    ImportError
        Without pyarrow.
    ValueError, OSError
        If there is no such file, or one lacks a column, or is no file of Parquet.

    Examples
    --------
    >>> from fastnet.streams import ParquetStream
    >>> import pandas
    >>> pandas.DataFrame({"a": X[:, 0], "b": X[:, 1], "sign": y}).to_parquet("part-0.parquet")
    >>> stream = ParquetStream("part-*.parquet", target="sign")
    >>> stream.features
    ['a', 'b']
    >>> Model([Dense(1, "sigmoid")], seed=0).fit(stream, epochs=3).epochs
    3
    """

    def __init__(
        self, path: Any, target: str | Sequence[str], *, features: Sequence[str] | None = None,
        sample_weight: str | None = None,
    ) -> None:  # fmt: skip
        try:
            import pyarrow.dataset
        except ImportError as error:
            raise ImportError(
                "ParquetStream needs pyarrow: pip install 'fastnet-mlp[parquet]'.", name="pyarrow"
            ) from error
        paths = [checks.path(each, "path") for each in (path if isinstance(path, (list, tuple)) else [path])]
        files = [file for each in paths for file in files_of(each)]
        if not files:
            raise ValueError(f"path must name at least one file of Parquet, but there is none at {path!r}.")
        self.target = list(target) if isinstance(target, (list, tuple)) else [target]
        self.sample_weight = sample_weight
        self.groups: list[tuple[str, int, Any]] = []
        self.n_examples = 0
        for file in files:
            try:
                (fragment,) = pyarrow.dataset.dataset(file, format="parquet").get_fragments()
                schema = fragment.physical_schema
            except (ValueError, OSError) as error:
                raise type(error)(f"{file!r} cannot be read as a file of Parquet: {error}") from None
            names = schema.names
            if features is None:
                of_index = (schema.pandas_metadata or {}).get("index_columns", ())
                features = [name for name in names if name not in (*self.target, sample_weight, *of_index)]
            for name in (*features, *self.target, *([sample_weight] if sample_weight else [])):
                if name not in names:
                    raise ValueError(f"{file!r} has no column {name!r}; it has {', '.join(map(repr, names))}.")
            start = 0
            for group in fragment.split_by_row_group():
                self.groups.append((file, start, group))
                start += group.row_groups[0].num_rows
            self.n_examples += start
        if not features:
            raise ValueError(f"features must be at least one column, but {files[0]!r} has none beside the target.")
        self.features = list(features)

    def __len__(self) -> int:
        """Return the number of row groups."""
        return len(self.groups)

    def __getitem__(self, number: Any) -> tuple[np.ndarray, ...]:
        """Return a row group, (X, y) or (X, y, sample_weight)."""
        file, _, group = self.groups[number]
        weight = [self.sample_weight] if self.sample_weight else []
        names = list(dict.fromkeys([*self.features, *self.target, *weight]))
        try:
            table = group.to_table(columns=names)
        except (ValueError, OSError) as error:
            raise type(error)(f"Row group {number} of the stream, in {file!r}, cannot be read: {error}") from None

        def array(names: Sequence[Any]) -> np.ndarray:
            columns = []
            for name in names:
                column = table.column(name)
                values = column.to_numpy()
                if values.dtype.kind not in "biuf":
                    raise TypeError(
                        f"Column {name!r} of {file!r} must hold numbers, but holds {column.type}. Encode it, or choose "
                        "others by features=."
                    )
                columns.append(values)
            of_float32 = all(values.dtype == np.float32 for values in columns)
            return np.stack(columns, axis=1, dtype=np.float32 if of_float32 else np.float64, casting="unsafe")

        found = [array(self.features), array(self.target), *(array(weight)[:, 0] for _ in weight)]
        return tuple(found)

    def place_of(self, number: int, row: int | None, column: int | None) -> str:
        """Return where a row group lies, or a row of it, and a column."""
        file, start, _ = self.groups[number]
        where = f"{os.path.basename(file)!r}, " + (f"from row {start} on" if row is None else f"row {start + row}")
        return where if column is None else f"{where}, column {self.features[column]!r}"


def files_of(path: str) -> list[str]:
    """Return the files that a path, a folder or a pattern means, in the order of their names."""
    files = []
    for each in [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True)):
        inside = os.path.join(glob.escape(each), "**", "*.parquet")
        files += sorted(glob.glob(inside, recursive=True)) if os.path.isdir(each) else [each]
    return [file for file in dict.fromkeys(files) if not os.path.isdir(file)]
