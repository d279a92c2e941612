"""The data of a spec, loaded once in a process.

Apart from `fitting`, on which ids stand: how often examples are loaded is no part of a run.
"""

from __future__ import annotations

from mempost.core.dataset import Data
from mempost.core.memory import remember
from mempost.experiments.fitting import load_data
from mempost.experiments.plan import PRIOR_ROOTS, id_of
from mempost.experiments.spec import Spec

_DATA = {"seed", "dtype", "device", "data"}


def data_of(spec: Spec) -> Data | None:
    """The examples, in raw coordinates and in the precision of the spec."""
    return remember(lambda: load_data(spec), "examples", id_of(spec, _DATA, PRIOR_ROOTS))
