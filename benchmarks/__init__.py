"""The asv suite. `scripts/bench` runs it on the code as it lies here.

A benchmark has no `setup`: with one, asv's runner times a single call per sample. Problems are made once, by
`lru_cache`, and every unit of work is large enough to time. A ratio is fastnet's time over the other's, since asv
takes every increase for a regression.
"""
