"""Backends: sparse direct solvers behind one protocol (analyse, factor, solve).

    analysis = backend.analyse(layout, dtype)     once for a grid and a stencil; remembered
    factors = analysis.factor(bands)              once a model
    u = factors.solve(b)                          all right-hand sides in one call

Matrices are complex-symmetric. They arrive as bands on a grid (see `bands`).
"""

from __future__ import annotations

from typing import Annotated

from mempost.core.variants import ONE_OF
from mempost.methods.waves.backends.batched import Batched
from mempost.methods.waves.backends.pardiso import Pardiso
from mempost.methods.waves.backends.superlu import SuperLU

Backend = Annotated[SuperLU | Pardiso | Batched, ONE_OF]
"""A backend in a spec: ``superlu``, ``pardiso``, or ``{type: batched, refinement: 0}``."""
