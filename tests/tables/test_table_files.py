"""Files of estimators for tables come from strangers: whatever is in them is read, or refused by FileFormatError."""

import copy
import json
import random
from contextlib import suppress

import numpy as np
import pytest

pytest.importorskip("sklearn")
from fastnet import FileFormatError
from fastnet.files import tensors
from fastnet.tables import TableClassifier, TableRegressor, load

INSTEAD = (None, -1, 10**30, "zz", [], {}, 1.5, True, 2.0**60, [1, 2])
ROWS = [[0.1 * i, "xyzx"[i % 4], [None, 1.0][i % 2]] for i in range(40)]


def places(value, path=()):
    """Yield the way to every entry of an object of JSON; of long lists, to the first ones."""
    entries = value.items() if isinstance(value, dict) else enumerate(value[:6]) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*path, key)
        yield from places(entry, (*path, key))


def changed(value, path, instead):
    """Return a copy of an object of JSON that has another entry there."""
    found = copy.deepcopy(value)
    owner = found
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = instead
    return found


@pytest.mark.jit
@pytest.mark.parametrize("kind", [TableClassifier, TableRegressor])
def test_a_file_with_another_entry_is_read_or_refused(kind, tmp_path):
    y = ["a", "b"] * 20 if kind is TableClassifier else np.arange(40.0)
    kind(epochs=1, hidden_layer_sizes=(8,), random_state=0, n_nets=2).fit(ROWS, y).save(tmp_path / "model")
    contents, draw, refused = tensors.read(tmp_path / "model"), random.Random(0), 0
    arrays, texts = dict(contents.arrays), dict(contents.texts)
    changes = []
    for name in ("table", "0.network"):
        whole = json.loads(texts[name])
        for path in [("kinds",), ("networks",), ("encoder",)] if name == "table" else []:
            changes += [({name: json.dumps(changed(whole, path, instead))}, {}) for instead in INSTEAD]
        for path in draw.sample(list(places(whole)), 60):
            changes += [({name: json.dumps(changed(whole, path, each))}, {}) for each in draw.sample(INSTEAD, 2)]
    for name, array in arrays.items():
        changes += [({}, {name: other}) for other in (array[:0], array.astype("f2"), np.concatenate([array, array]))]
    for of_texts, of_arrays in changes:
        tensors.write(tmp_path / "other", arrays | of_arrays, texts | of_texts)
        try:
            other = load(tmp_path / "other")
        except FileFormatError:
            refused += 1
        else:
            with suppress(ValueError):  # what columns have become is said of a table that has them not
                other.predict(ROWS[:2])
    assert refused > len(changes) / 2
