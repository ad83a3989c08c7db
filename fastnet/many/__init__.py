"""Several networks trained at once, one a core, on one table: for cross-validation, ensembles and searches.

`train.py` checks what it is given and has the public function, `examples.py` chooses rows of the table without copying
X, and `team.py` has the threads, which take one network after the other.
"""

from fastnet.many.train import train_many

__all__ = ["train_many"]
