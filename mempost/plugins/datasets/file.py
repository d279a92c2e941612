"""Data from a file: .npy, .npz (one array by name) and .csv (one example a line).

Files are read without pickle, so that opening one runs no code.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from mempost.core.dataset import Data, Dataset
from mempost.core.errors import CorruptFileError, MempostError, SpecError, nearest
from mempost.core.plugin import InputFile
from mempost.core.streams import Streams

SUFFIXES = (".npy", ".npz", ".csv")


class File(Dataset):
    """Examples from a .npy, .npz or .csv file, split into training and held-out ones.

    The first axis counts examples; a vector holds one number an example. Training examples are the
    first of the order, held-out ones the last, so that neither depends on the number of the other.
    In a .csv, values are separated by commas, and lines that start with # are comments.
    """

    tags: ClassVar[frozenset[str]] = frozenset({"random"})
    path: InputFile
    key: str | None = Field(None, description="name of the array in a .npz that holds several")
    header: bool = Field(False, description="skip the first line of a .csv")
    shape: tuple[PositiveInt, ...] | None = Field(
        None, min_length=1, description="shape of one example, if not that in the file"
    )
    order: Literal["random", "file"] = Field(
        "random", description="random: by the spec's seed; file: as the examples stand"
    )
    n_train: PositiveInt | None = Field(None, description="all that are not held out, if not given")
    n_held_out: NonNegativeInt = 0

    @model_validator(mode="after")
    def _format_known(self) -> Self:
        suffix = self.path.suffix.lower()
        if suffix not in SUFFIXES:
            raise ValueError(
                f"path ends in {suffix!r}; allowed are {', '.join(SUFFIXES)}."
                + nearest(suffix, SUFFIXES)
            )
        if self.key is not None and suffix != ".npz":
            raise ValueError(f"key names an array of a .npz; a {suffix} holds one only")
        if self.header and suffix != ".csv":
            raise ValueError(f"header is for a .csv; a {suffix} has none to skip")
        return self

    def load(self, streams: Streams) -> Data:
        """Training and held-out examples.

        Raises:
            CorruptFileError: the file cannot be read, or holds other than finite real numbers.
            SpecError: it holds fewer examples than asked for, or none of the shape or key.
        """
        x = torch.from_numpy(self._examples())
        if self.order == "random":
            x = x[streams.at().permutation(len(x))]
        n_train = len(x) - self.n_held_out if self.n_train is None else self.n_train
        if n_train < 1 or n_train + self.n_held_out > len(x):
            raise SpecError(
                f"{self.path}: holds {len(x)} examples, too few for {max(n_train, 1)} to train on "
                f"and {self.n_held_out} held out"
            )
        return Data(x[:n_train], x.flip(0)[: self.n_held_out])

    def _examples(self) -> np.ndarray:
        """All examples, (n, *shape), finite float64 numbers."""
        array = _read(self.path, self.key, self.header)
        if array.dtype.kind not in "biuf":
            raise CorruptFileError(
                f"{self.path}: should hold real numbers, found an array of {array.dtype}"
            )
        if array.ndim == 0 or array.size == 0:
            raise CorruptFileError(f"{self.path}: holds no examples, its shape is {array.shape}")
        x = np.ascontiguousarray(array.reshape(len(array), *array.shape[1:] or (1,)), np.float64)
        bad = ~np.isfinite(x)
        if bad.any():
            example = int(np.argwhere(bad)[0, 0])
            raise CorruptFileError(f"{self.path}: example {example} holds a non-finite number")
        if self.shape is None:
            return x
        if math.prod(self.shape) != math.prod(x.shape[1:]):
            raise SpecError(
                f"{self.path}: holds examples of shape {x.shape[1:]}, not of shape {self.shape}"
            )
        return x.reshape(len(x), *self.shape)


def _read(path: Path, key: str | None, header: bool) -> np.ndarray:
    try:
        if path.suffix.lower() == ".csv":
            return _read_csv(path, header)
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return loaded[_only_key(path, loaded.files, key)]
    except MempostError:
        raise
    except Exception as error:  # zipfile, zlib, numpy and the codecs raise nearly anything
        why = " ".join(str(error).split()) or type(error).__name__
        raise CorruptFileError(f"{path}: cannot be read as {path.suffix.lower()}: {why}") from error


def _only_key(path: Path, names: list[str], key: str | None) -> str:
    if key is None and len(names) == 1:
        return names[0]
    listed = ", ".join(names) or "none"
    if key is None:
        raise SpecError(f"{path}: name one of its arrays as key; they are {listed}")
    if key not in names:
        raise SpecError(
            f"{path}: holds no array {key!r}; allowed are {listed}.{nearest(key, names)}"
        )
    return key


def _read_csv(path: Path, header: bool) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*contained no data")  # reported as no examples
        try:
            return np.loadtxt(
                path, delimiter=",", skiprows=int(header), ndmin=2, encoding="utf-8-sig"
            )
        except ValueError as error:
            hint = "" if header else " (if the first line names the columns, set header: true)"
            raise ValueError(f"{error}{hint}") from None
