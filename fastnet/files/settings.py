"""Settings as JSON and back: layers, losses, optimizers, schedules and seeds, by the closed tables of this file.

A number, a text, a truth value or None is itself; a list is a list; what has settings is an object with its "type", a
name in CLASSES, and its settings by name. Nothing is imported, or looked up anywhere else, by a name from a file.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from fastnet.activations import LeakyReLU
from fastnet.callbacks import EarlyStopping, ReduceOnPlateau, TimeLimit
from fastnet.errors import FileFormatError
from fastnet.initializers import Normal
from fastnet.layers import Dense, Dropout, Encode, Scale
from fastnet.losses import Huber, Quantile
from fastnet.optimizers import SGD, Adagrad, Adam, AdamW, EpsilonHatAdam, RMSprop, UndampedSGD
from fastnet.scaling import Standardize
from fastnet.schedules import (
    ByStep,
    CosineDecay,
    CosLog,
    ExponentialDecay,
    OneCycle,
    SlowedDown,
    StepDecay,
    is_by_step,
)

CALLBACKS = (EarlyStopping, ReduceOnPlateau, TimeLimit)

CLASSES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Dense, Dropout, Standardize, Scale, Encode, LeakyReLU, Normal, Huber, Quantile,
        SGD, RMSprop, Adagrad, Adam, AdamW, EpsilonHatAdam, UndampedSGD,
        ExponentialDecay, StepDecay, CosineDecay, OneCycle, CosLog, ByStep, SlowedDown, *CALLBACKS,
    )
}  # fmt: skip

FUNCTION, GENERATOR = "function", "Generator"
"""The types of what has no settings: a function, of which a file has the name alone; a numpy.random.Generator."""

MAY_BE_FUNCTIONS = ("learning_rate", "scoring", "callbacks")

MOST_LEVELS = 8
"""More than settings ever lie within each other."""


def described(value: Any, name: str) -> Any:
    """Return settings as JSON has them; TypeError, which calls them by `name`, if they are no part of a file."""
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [described(entry, f"{name}[{index}]") for index, entry in enumerate(value)]
    kind = type(value)
    if CLASSES.get(kind.__name__) is kind:
        of_others = value.shown if isinstance(value, CALLBACKS) else getattr(value, "fixed", ())
        names = [field.name for field in fields(value)] if is_dataclass(value) else of_others
        return {"type": kind.__name__} | {each: described(getattr(value, each), f"{name}.{each}") for each in names}
    if isinstance(value, np.random.Generator):
        return {"type": GENERATOR, **generator_described(value, name)}
    if callable(value):
        return {"type": FUNCTION, "name": getattr(value, "__qualname__", kind.__qualname__)}
    raise TypeError(
        f"{name} is {value!r}, which no file can hold. Use fastnet's own classes, numbers and texts, or pickle it."
    )


def restored(description: Any, functions: Mapping[str, Any], name: str, level: int = 0) -> Any:
    """Return the settings that a description, called by `name`, stands for.

    `functions` are put in the place of functions, each under the name of its setting, such as "learning_rate".

    Raises
    ------
    FileFormatError
        If it is no description, or a class refuses its settings.
    ValueError
        If a function is missing, or a number in the place of one within a schedule; the message says what to pass.
    """
    if level > MOST_LEVELS:
        raise FileFormatError(f"its {name} has more than {MOST_LEVELS} levels")
    if isinstance(description, list):
        return [restored(entry, functions, name, level + 1) for entry in description]
    if not isinstance(description, dict):
        return description
    settings = {key: value for key, value in description.items() if key != "type"}
    kind = description.get("type")
    if kind == FUNCTION and name in MAY_BE_FUNCTIONS:
        if name not in functions:
            raise ValueError(
                f"The file was saved with a function as {name}, {settings.get('name')!r}, which no file holds. Pass it "
                f"as {name}=..., or any other {name}."
            )
        return functions[name]
    if kind == GENERATOR:
        return generator_restored(settings, name)
    if not isinstance(kind, str) or kind not in CLASSES:
        raise FileFormatError(f"its {name} has the type {kind!r}, which is none of {', '.join(CLASSES)}")
    found = {
        key: restored(value, functions, name if key == "schedule" else key, level + 1)
        for key, value in settings.items()
    }
    inner, was = found.get("schedule"), settings.get("schedule")
    is_function = callable(inner) and not isinstance(inner, type) and not is_by_step(inner)
    if isinstance(was, dict) and was.get("type") == FUNCTION and not is_function:
        raise ValueError(
            f"{name} must be a function of the epoch, as the file's {kind} had, {was.get('name')!r}, not {inner!r}."
        )
    return made(CLASSES[kind], found, name)


def made(kind: Callable[..., Any], settings: Mapping[str, Any], name: str) -> Any:
    """Return what a class, or a function, makes of settings; FileFormatError, with the reason, if it refuses them."""
    try:
        return kind(**settings)
    except FileFormatError:
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise FileFormatError(f"its {name} is refused: {error}") from None


# ------------------------------------------------------------------------------------------------------- generators

POSITIONS = {"pos": 624, "buffer_pos": 4, "has_uint32": 1, "has_gauss": 1}
"""The integers of a state that say where in its numbers a generator is, and the most that each may be."""


def bit_generators() -> dict[str, Any]:
    """Return NumPy's bit generators by name."""
    from numpy import random

    kinds = random.PCG64, random.PCG64DXSM, random.SFC64, random.MT19937, random.Philox
    return {kind.__name__: kind for kind in kinds}


def generator_described(generator: np.random.Generator, name: str) -> dict[str, Any]:
    """Return the state of a generator's bit generator."""
    state = state_described(generator.bit_generator.state)
    if state["bit_generator"] not in bit_generators():
        raise TypeError(f"{name} has a {state['bit_generator']}, which no file can hold. Pass a seed, an integer.")
    return {"state": state}


def state_described(state: Any) -> Any:
    """Return the state of a generator as JSON has it."""
    if isinstance(state, dict):
        return {key: state_described(entry) for key, entry in state.items()}
    return state.tolist() if isinstance(state, (np.ndarray, np.generic)) else state


def generator_restored(settings: Mapping[str, Any], name: str) -> np.random.Generator:
    """Return a generator in the state that it was saved in; FileFormatError if that is no state of one."""

    def make() -> np.random.Generator:
        bit_generator = bit_generators()[settings["state"]["bit_generator"]](0)
        bit_generator.state = state = like(bit_generator.state, settings["state"])
        if (
            "inc" in state["state"] and state["state"]["inc"] % 2 == 0
        ):  # it may stand still, and who draws wait for ever
            raise ValueError("inc must be odd")
        return np.random.Generator(bit_generator)

    return made(make, {}, name)  # type: ignore[no-any-return]


def random_state_restored(settings: Mapping[str, Any], name: str) -> np.random.RandomState:
    """Return a RandomState, with its Mersenne twister, in the state that it was saved in; errors as above."""

    def make() -> np.random.RandomState:
        random_state = np.random.RandomState(0)
        random_state.set_state(like(random_state.get_state(legacy=False), settings["state"]))
        return random_state

    return made(make, {}, name)  # type: ignore[no-any-return]


def like(model: Any, value: Any, most: int = 2**128 - 1) -> Any:
    """Return a value of JSON in the form of a bit generator's state; ValueError or KeyError unless it has that form.

    The positions in it are bounded: NumPy reads where they say.
    """
    if isinstance(model, dict):
        if not isinstance(value, dict) or value.keys() != model.keys():
            raise ValueError(f"it must have {', '.join(model)}")
        return {key: like(model[key], value[key], POSITIONS.get(key, most)) for key in model}
    if isinstance(model, np.ndarray):
        largest = int(np.iinfo(model.dtype).max)
        if not isinstance(value, list) or len(value) != model.size:
            raise ValueError(f"it must have {model.size} numbers")
        return np.array([like(0, number, largest) for number in value], model.dtype)
    if isinstance(model, str):
        if value != model:
            raise ValueError(f"{model} is called otherwise")
        return value
    if isinstance(model, float):
        return float(value)
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{value!r} is no integer from 0 to {most}")
    return value
