"""Training examples that are not what one would think: repeated, extreme, held out and yet known.

None of them stops a study, for each may be meant: duplicates are the commonest cause of
memorization. One line each says what was found, and what the numbers make of it.
"""

from __future__ import annotations

import warnings

import torch

from mempost.core.dataset import Data
from mempost.core.errors import MempostWarning
from mempost.methods.geometry.distinct import Distinct
from mempost.methods.geometry.pairwise import middle

FAR = 1e3
"""Times as far from the median as half of the examples: what nobody calls spread."""


def warn_of_examples(data: Data) -> None:
    """Say what repeats, what is far out, and which held-out examples are none."""
    train, held_out = data.train.flatten(1), data.held_out.flatten(1)
    points = Distinct.of(torch.cat([train, held_out]))
    place = points.place[: len(train)]
    copies = torch.bincount(place)
    if (distinct := int((copies > 0).sum())) < len(train):
        most = int(copies.argmax())
        _warn(
            f"data: {len(train) - distinct} of {len(train)} training examples repeat earlier ones "
            f"(example {int(points.first[most])} stands {int(copies[most])} times); masses, "
            f"effective numbers and neighbours count the {distinct} that differ, each with all of "
            "its weight"
        )
    known = int((points.first[points.place[len(train) :]] < len(train)).sum())
    if known:
        _warn(
            f"data: {known} of {len(held_out)} held-out examples are training examples too; rates "
            "of held-out examples count them, and are no control for them"
        )
    centred = (train - middle(train)).abs()
    reach = centred.amax(1)
    typical = reach[reach > 0].median() if bool((reach > 0).any()) else reach.max()
    if float(reach.max()) > FAR * float(typical):
        n = int(reach.argmax())
        value = float(train[n, centred[n].argmax()])
        _warn(
            f"data: training example {n} holds {value:g}, {float(reach[n] / typical):.0e} times as "
            "far out as half of the examples; if it stands for a missing value, leave it out: "
            "distances stay right, means, standard deviations and scales do not"
        )


def _warn(text: str) -> None:
    warnings.warn(text, MempostWarning, stacklevel=3)
