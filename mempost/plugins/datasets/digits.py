"""Real handwritten digits: 1797 grey-scale images of 8 x 8 pixels.

The test part of the optical recognition set of Alpaydin & Kaynak 1998, as scikit-learn ships it.
Its pixels count the ink in 4 x 4 blocks of a bitmap, 0 to 16; they are divided by 16.
"""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.dataset import Data, Dataset
from mempost.core.errors import PluginError, SpecError
from mempost.core.streams import Streams
from mempost.methods.bibliography import ALPAYDIN_1998_DIGITS

N_IMAGES = 1797
N_RESERVED = 397
"""Images at the end of the random order that only ever serve as held-out ones."""


class Digits(Dataset):
    """Handwritten digits of scikit-learn, 8 x 8 pixels scaled to [0, 1].

    The images are put in a random order that depends on the spec's seed alone. Training examples
    are the first ones; held-out examples are the first of the last 397, which no training set
    touches, whatever its size and its classes. Needs ``pip install mempost[digits]``.
    """

    tags = frozenset({"random"})
    publications = (ALPAYDIN_1998_DIGITS,)
    n_train: int = Field(50, ge=1, le=N_IMAGES - N_RESERVED)
    n_held_out: int = Field(200, ge=0, le=N_RESERVED)
    classes: tuple[Annotated[int, Field(ge=0, le=9)], ...] | None = Field(
        None, min_length=1, description="digits to keep, 0 to 9; all if not given"
    )

    def load(self, streams: Streams) -> Data:
        images, labels = _scikit_learn_digits()
        order = streams.at().permutation(N_IMAGES)
        keep = torch.isin(labels, torch.tensor(self.classes or range(10)))
        first, last = (part[keep[part]] for part in order.tensor_split([N_IMAGES - N_RESERVED]))
        for name, n, part in (
            ("n_train", self.n_train, first),
            ("n_held_out", self.n_held_out, last),
        ):
            if n > len(part):
                raise SpecError(
                    f"digits.{name}: {n}, but these classes have only {len(part)} images"
                )
        return Data(images[first[: self.n_train]], images[last[: self.n_held_out]])


def _scikit_learn_digits() -> tuple[Float[Tensor, "n 8 8"], Tensor]:
    """Images in [0, 1] and their labels.

    Raises:
        PluginError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise PluginError("digits needs scikit-learn: pip install mempost[digits]") from None
    bunch = load_digits()
    return torch.from_numpy(bunch.images / 16), torch.from_numpy(bunch.target)
