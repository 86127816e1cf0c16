"""Chance that can be repeated: every draw depends on the seed and its labels only, never on what was drawn before."""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]


def unit(seed: int, *labels: object) -> float:
    """Return a uniform number in [0, 1) for one labelled question, like `unit(7, "opens", address)`."""
    return int.from_bytes(_digest(seed, labels)[:7]) / 2.0**56


def stream(seed: int, *labels: object) -> np.random.Generator:
    """Return a generator for one labelled set of draws."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(_digest(seed, labels))))


def _digest(seed: int, labels: tuple[object, ...]) -> bytes:
    text = "\x1f".join(str(label) for label in (seed, *labels))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
