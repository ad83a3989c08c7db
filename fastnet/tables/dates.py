"""Dates and time differences as numbers, by integers as far as they go."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np

FINER_THAN_SECONDS = {"ms": 10**3, "us": 10**6, "ns": 10**9, "ps": 10**12, "fs": 10**15, "as": 10**18}


def seconds(values: np.ndarray) -> np.ndarray:
    """Return time differences of any unit in seconds, as float64; NaN for NaT."""
    unit = np.datetime_data(values.dtype)[0]
    per_second = FINER_THAN_SECONDS.get(unit, 1)
    ticks = values.astype(f"m8[{unit if per_second > 1 else 's'}]").astype(np.int64)
    found: np.ndarray = ticks // per_second + (ticks % per_second) / per_second  # ticks may be more than float64 holds
    found[np.isnat(values)] = np.nan
    return found


DATE_PARTS: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "seconds": lambda days, time: days.astype(np.int64) * 86400 + time,
    "year": lambda days, time: days.astype("M8[Y]").astype(np.int64) + 1970,
    "month": lambda days, time: days.astype("M8[M]").astype(np.int64) % 12 + 1,
    "day": lambda days, time: (days - days.astype("M8[M]").astype("M8[D]")).astype(np.int64) + 1,
    "weekday": lambda days, time: (days.astype(np.int64) + 3) % 7,  # 1970 began on a Thursday
    "hour": lambda days, time: time / 3600,
}
"""The numbers of a date, from the days and the seconds within the day: seconds since 1970 in UTC, the year, the month
from 1, the day of the month from 1, the weekday from 0, a Monday, and the hour with its fraction."""


def usual(dates: np.ndarray) -> np.ndarray:
    """Return dates in nanoseconds if they are in finer units, of which a day has too many for integers of 64 bits."""
    return dates.astype("M8[ns]") if np.datetime_data(dates.dtype)[0] in ("ps", "fs", "as") else dates


def date_part(dates: np.ndarray, part: str) -> np.ndarray:
    """Return a number of each date as float64; NaN for NaT."""
    days = dates.astype("M8[D]")
    found: np.ndarray = np.asarray(DATE_PARTS[part](days, seconds(dates - days)), np.float64)
    found[np.isnat(dates)] = np.nan
    return found


def utc(value: Any) -> Any:
    """Return a date without a zone: in UTC, if it had one."""
    is_zoned = isinstance(value, datetime) and value.tzinfo is not None
    return value.astimezone(UTC).replace(tzinfo=None) if is_zoned else value
