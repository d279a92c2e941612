"""Finding MKL's runtime library and calling PARDISO in it, with 64-bit integers throughout."""

from __future__ import annotations

import ctypes
import importlib.metadata
import re
import sys
from ctypes.util import find_library
from functools import lru_cache
from pathlib import Path

import numpy as np

from mempost.core.errors import PluginError

_LIBRARY = re.compile(r"(lib)?mkl_rt(\.\d+)?\.(so|dll)(\.\d+)*")
_GNU_THREADS = 3
COMPLEX_SYMMETRIC = 6


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The runtime library.

    Raises:
        PluginError: MKL is not installed, or does not load.
    """
    path = _path()
    if path is None:
        raise PluginError(
            "backend pardiso needs Intel MKL, which was not found: pip install 'mempost[mkl]', "
            "or choose the backend superlu"
        )
    try:
        mkl = ctypes.CDLL(path)
    except OSError as error:
        raise PluginError(f"backend pardiso: {path} does not load: {error}") from error
    if sys.platform == "linux":  # share torch's OpenMP runtime
        mkl.MKL_Set_Threading_Layer(_GNU_THREADS)
    mkl.pardiso_64.restype = None
    return mkl


def is_installed() -> bool:
    """Whether MKL is found, so that `library` has something to load."""
    return _path() is not None


def _path() -> str | None:
    try:
        files = importlib.metadata.files("mkl") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = [str(file.locate()) for file in files if _LIBRARY.fullmatch(file.name)]
    folder = Path(sys.prefix, "lib")
    found += sorted(str(p) for p in folder.glob("libmkl_rt.so*"))
    return found[0] if found else find_library("mkl_rt")


def pardiso(
    phase: int,
    handle: np.ndarray,
    iparm: np.ndarray,
    pattern: tuple[np.ndarray, np.ndarray],
    slots: int,
    slot: int,
    values: np.ndarray,
    b: np.ndarray,
    x: np.ndarray,
) -> None:
    """One call of PARDISO for a complex-symmetric matrix given by its upper triangle.

    Args:
        phase: 11 analysis, 22 numeric factorisation, 33 solve, -1 release.
        handle: PARDISO's 64 internal pointers, int64.
        iparm: its 64 parameters, int64.
        pattern: starts of the rows and columns of the entries, from 0, int64.
        slots: number of factorisations with this pattern that the handle may hold.
        slot: the one concerned, from 1.
        values: entries, complex64 or complex128 as iparm says.
        b: right-hand sides (k, n), read.
        x: solutions (k, n), written.

    Raises:
        PluginError: PARDISO reports an error.
    """
    starts, columns = pattern
    for array in (handle, iparm, starts, columns, values, b, x):
        if not array.flags.c_contiguous:
            raise ValueError("PARDISO takes contiguous arrays")
    error = ctypes.c_int64(0)
    unused = np.zeros(1, np.int64)
    library().pardiso_64(
        _address(handle),
        *(_integer(value) for value in (slots, slot, COMPLEX_SYMMETRIC, phase, len(starts) - 1)),
        *(_address(array) for array in (values, starts, columns, unused)),
        _integer(len(b)),
        _address(iparm),
        _integer(0),
        _address(b),
        _address(x),
        ctypes.byref(error),
    )
    if error.value:
        raise PluginError(f"PARDISO reports error {error.value} in phase {phase}")


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def _integer(value: int) -> object:
    return ctypes.byref(ctypes.c_int64(value))
