"""Data from a file: .npy, .npz, .csv, .txt, .h5 and .nc (see `mempost.core.array_file`)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt

from mempost.core.array_file import ArrayFile, transposed
from mempost.core.dataset import Data, Dataset
from mempost.core.errors import CorruptFileError, SpecError
from mempost.core.shapes import fits
from mempost.core.streams import Streams
from mempost.core.tags import Tag


class File(ArrayFile, Dataset):
    """Examples from a file, split into training and held-out ones.

    The first axis counts examples; a vector holds one number an example. Training examples are the
    first of the order, held-out ones the last, so that neither depends on the number of the other.
    """

    tags = frozenset({"random"})
    shape: tuple[PositiveInt, ...] | None = Field(
        None,
        min_length=1,
        description="shape of one example: axes of length one come and go, a vector is folded",
    )
    transpose: tuple[NonNegativeInt, ...] | None = Field(
        None, description="order of the axes of one example: [1, 0] exchanges rows and columns"
    )
    order: Literal["random", "file"] = Field(
        "random", description="random: by the spec's seed; file: as the examples stand"
    )
    n_train: PositiveInt | None = Field(None, description="all that are not held out, if not given")
    n_held_out: NonNegativeInt = 0

    def _tags(self) -> frozenset[Tag]:
        """Only a random order draws random numbers."""
        return super()._tags() - ({"random"} if self.order == "file" else set())

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
        """All examples, (n, *shape)."""
        array = self.read()
        if np.iscomplexobj(array):
            raise CorruptFileError(f"{self.path}: should hold real numbers, found complex ones")
        if array.ndim == 0:
            raise CorruptFileError(f"{self.path}: holds a number, and no axis of examples")
        x = array.reshape(len(array), *array.shape[1:] or (1,))
        if self.transpose is not None:
            transposed(x[0], self.transpose, str(self.path))  # names a wrong order
            x = x.transpose(0, *(axis + 1 for axis in self.transpose))
        if self.shape is not None:
            if not fits(x.shape[1:], self.shape):
                raise SpecError(
                    f"{self.path}: holds examples of shape {x.shape[1:]}, not of shape "
                    f"{self.shape}; transpose reorders their axes"
                )
            x = x.reshape(len(x), *self.shape)
        return np.ascontiguousarray(x)
