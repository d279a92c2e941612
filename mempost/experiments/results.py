"""Samples on disk: a tile as named tensors, a finished run as ``result.nc``.

``result.nc`` holds samples, data and truth as an xarray DataTree with ArviZ's group names:

posterior       x (chain, draw, x_dim)
trajectory      z (chain, draw, level, x_dim) of a reverse process that keeps states, with t, a, s
                and step (level)
sample_stats    one variable a statistic (chain, draw, ...)
observed_data   y (y_dim_0, ...), if there are data; complex ones have a last axis ``part`` of two
                (re, im); in a calibration run y (chain, y_dim_0), complex data as re, im, re, ...
constant_data   truth (x_dim), or (chain, x_dim) in a calibration run; location and scale of the
                prior's coordinates
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from mempost.core.errors import CorruptFileError
from mempost.core.problem import InverseProblem
from mempost.core.sampler import Samples
from mempost.core.trajectory import Trajectory

_STATS = "stats."
_PATH = "trajectory."


def to_tensors(samples: Samples) -> dict[str, Tensor]:
    """The samples of a tile as named tensors: x, stats.NAME; truths and data if there are any."""
    stats = {_STATS + k: v.clone() for k, v in samples.stats.items()}  # it may be a view of x
    tensors = {"x": samples.values, **stats}
    of_truths = {"truths": samples.truths, "data": samples.data}
    path = {} if samples.trajectory is None else samples.trajectory.tensors()
    tensors |= {_PATH + k: v.clone() for k, v in path.items()}
    return tensors | {k: v for k, v in of_truths.items() if v is not None}


def from_tensors(tensors: Mapping[str, Tensor]) -> Samples:
    """The samples that `to_tensors` made into ``tensors``."""
    stats = {k.removeprefix(_STATS): v for k, v in tensors.items() if k.startswith(_STATS)}
    path = {k.removeprefix(_PATH): v for k, v in tensors.items() if k.startswith(_PATH)}
    trajectory = Trajectory(**path) if path else None
    return Samples(tensors["x"], stats, tensors.get("truths"), tensors.get("data"), trajectory)


def result_bytes(
    samples: Samples,
    problem: InverseProblem,
    truth: Tensor | None,
    attributes: Mapping[str, str],
) -> bytes:
    """The file of a run's DataTree, made in memory: HDF5 dies of a disk that fills."""
    coordinates = problem.prior.coordinates
    constant: dict[str, Any] = {
        "location": (("x_dim",), _numpy(coordinates.location)),
        "scale": (("x_dim",), _numpy(coordinates.scale)),
    }
    observed: dict[str, Any] = {}
    if samples.data is not None:
        observed = {"y": _variable("y", samples.data, ("chain",))}
    elif problem.question is not None:
        observed = {"y": _variable("y", problem.y, ())}
    if samples.truths is not None:
        constant["truth"] = (("chain", "x_dim"), _numpy(samples.truths))
    elif truth is not None:
        constant["truth"] = (("x_dim",), _numpy(truth))
    posterior = xr.Dataset({"x": (("chain", "draw", "x_dim"), _numpy(samples.values))})
    stats = {name: _variable(name, t, ("chain", "draw")) for name, t in samples.stats.items()}
    groups = {}
    if samples.trajectory is not None:
        axes = {"z": ("chain", "draw", "level", "x_dim")}
        kept = samples.trajectory.tensors()
        columns = {k: (axes.get(k, ("level",)), _numpy(t)) for k, t in kept.items()}
        groups["trajectory"] = xr.Dataset(columns)
    tree = xr.DataTree.from_dict(
        groups
        | {
            "/": xr.Dataset(attrs=dict(attributes)),
            "posterior": posterior,
            "sample_stats": xr.Dataset(stats),
            **({"observed_data": xr.Dataset(observed)} if observed else {}),
            "constant_data": xr.Dataset(constant),
        }
    )
    return bytes(tree.to_netcdf(engine="h5netcdf"))


def read_samples(path: Path) -> Samples:
    """The samples of a run.

    Raises:
        CorruptFileError: the file cannot be read.
    """
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            values = torch.from_numpy(np.array(tree["posterior"]["x"].values))
            stats = {
                str(name): torch.from_numpy(np.array(v.values))
                for name, v in tree["sample_stats"].data_vars.items()
            }
            truth = tree["constant_data"].get("truth")
            truths = data = None
            if truth is not None and truth.ndim == 2:
                truths = torch.from_numpy(np.array(truth.values))
            trajectory = None
            if "trajectory" in tree:
                kept = tree["trajectory"].data_vars.items()
                columns = {str(k): torch.from_numpy(np.array(v.values)) for k, v in kept}
                trajectory = Trajectory(**columns)
            if "observed_data" in tree and "chain" in tree["observed_data"]["y"].dims:
                data = torch.from_numpy(np.array(tree["observed_data"]["y"].values))
    except Exception as error:
        raise CorruptFileError(f"{path} is corrupt and not used: {error}") from None
    return Samples(values, stats, truths, data, trajectory)


def _variable(name: str, t: Tensor, leading: tuple[str, ...]) -> tuple[tuple[str, ...], Any]:
    parts: tuple[str, ...] = ()
    if t.is_complex():
        t, parts = torch.view_as_real(t.resolve_conj()), ("part",)
    leading = leading[: t.ndim - len(parts)]
    middle = tuple(f"{name}_dim_{i}" for i in range(t.ndim - len(leading) - len(parts)))
    return (*leading, *middle, *parts), _numpy(t)


def _numpy(t: Tensor) -> Any:
    return t.detach().cpu().numpy()
