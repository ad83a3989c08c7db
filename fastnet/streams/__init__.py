"""Streams: tables that memory does not hold, as `Model.fit` takes them, block by block.

A stream is any object that gives blocks (X, y) or (X, y, sample_weight), from the first one on whenever it is gone
through; those here are ready made. One that is a `collections.abc.Sequence` may be asked for its blocks in any order.
"""

from fastnet.streams.frames import FrameStream
from fastnet.streams.memmap import MemmapStream
from fastnet.streams.parquet import ParquetStream

__all__ = ["FrameStream", "MemmapStream", "ParquetStream"]
