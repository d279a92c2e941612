"""Arrays in files, read without running code: .npy, .npz, .csv, .txt, .h5 (.hdf5) and .nc.

What a file does not say for certain is refused, not guessed: a comma that may be a decimal comma,
a first line that may be a header, a first column that may count the lines.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, NonNegativeInt, model_validator

from mempost.core.errors import CorruptFileError, MempostError, SpecError, nearest
from mempost.core.plugin import InputFile, Recipe
from mempost.core.text_table import read_table

if TYPE_CHECKING:
    import h5py

TEXT = (".csv", ".txt")
SEVERAL = (".npz", ".h5", ".hdf5", ".nc")
SUFFIXES = (".npy", *TEXT, *SEVERAL)


class ArrayFile(Recipe):
    """A file that holds one array, or several by name."""

    path: InputFile
    key: str | None = Field(
        None, description="name of the array in a .npz, .h5 or .nc that holds several"
    )
    header: bool | None = Field(None, description="skip the first line of a .csv or .txt")
    index_column: bool | None = Field(
        None, description="leave out the first column of a .csv or .txt, which counts the lines"
    )
    decimal: Literal[".", ","] | None = Field(
        None, description="decimal sign of a .csv or .txt, where it is not clear"
    )

    @model_validator(mode="after")
    def _format_known(self) -> Self:
        suffix = self.path.suffix.lower()
        if suffix not in SUFFIXES:
            raise ValueError(
                f"path ends in {suffix!r}; allowed are {', '.join(SUFFIXES)}."
                + nearest(suffix, SUFFIXES)
            )
        if self.key is not None and suffix not in SEVERAL:
            raise ValueError(f"key names an array of several; a {suffix} holds one only")
        for name in ("header", "index_column", "decimal"):
            if getattr(self, name) is not None and suffix not in TEXT:
                raise ValueError(f"{name} is for a .csv or .txt; a {suffix} needs none")
        return self

    def read(self, missing: bool = False) -> np.ndarray:
        """The array, of finite real or complex numbers, as float64 or complex128.

        Args:
            missing: whether numbers may be NaN, which stands for what is missing.

        Raises:
            CorruptFileError: the file cannot be read, or holds other than finite numbers.
            SpecError: it holds no array of that key, or what it holds is not certain.
        """
        try:
            array = self._read()
        except MempostError:
            raise
        except (
            Exception
        ) as error:  # zipfile, zlib, numpy, h5py and the codecs raise nearly anything
            why = " ".join(str(error).split()) or type(error).__name__
            suffix = self.path.suffix.lower()
            raise CorruptFileError(f"{self.path}: cannot be read as {suffix}: {why}") from error
        if array.dtype.kind not in "biufc":
            raise CorruptFileError(
                f"{self.path}: should hold numbers, found an array of {array.dtype}"
            )
        if array.size == 0:
            raise CorruptFileError(f"{self.path}: holds no numbers, its shape is {array.shape}")
        if not (finite := np.isfinite(array) | (missing & np.isnan(array))).all():
            place = ", ".join(map(str, np.argwhere(~finite)[0]))
            raise CorruptFileError(f"{self.path}: holds a non-finite number at [{place}]")
        return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)

    def _read(self) -> np.ndarray:
        suffix = self.path.suffix.lower()
        if suffix in TEXT:
            return read_table(self.path, self.header, self.index_column, self.decimal)
        if suffix == ".nc":
            return _read_netcdf(self.path, self.key)
        if suffix in (".h5", ".hdf5"):
            return _read_hdf5(self.path, self.key)
        loaded = np.load(self.path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return loaded[_only_key(self.path, loaded.files, self.key)]


class ArrayInFile(ArrayFile):
    """An array of a spec that stands in a file: ``{type: file, path: data.npy}``."""

    type: Literal["file"] = "file"
    index: NonNegativeInt | None = Field(
        None, description="take one entry along the first axis, such as one of many examples"
    )
    transpose: tuple[NonNegativeInt, ...] | None = Field(
        None, description="order of the axes (after index): [1, 0] exchanges rows and columns"
    )

    def read(self, missing: bool = False) -> np.ndarray:
        """The array, with one entry taken and axes reordered where asked for."""
        array = super().read(missing)
        if self.index is not None:
            if array.ndim == 0 or self.index >= len(array):
                raise SpecError(
                    f"{self.path}: index {self.index} is beyond the shape {array.shape}"
                )
            array = array[self.index]
        return transposed(array, self.transpose, str(self.path))


def transposed(array: np.ndarray, order: tuple[int, ...] | None, where: str) -> np.ndarray:
    """The array with its axes in another order; as it is, if there is none.

    Raises:
        SpecError: the order does not name every axis once.
    """
    if order is None:
        return array
    if sorted(order) != list(range(array.ndim)):
        axes = ", ".join(map(str, range(array.ndim))) or "none"
        raise SpecError(
            f"{where}: transpose: should name each axis of {array.shape} once ({axes}), "
            f"found {order}"
        )
    return array.transpose(order)


def _read_netcdf(path: Path, key: str | None) -> np.ndarray:
    """A variable of netCDF 3 or 4, its scale and offset applied, what is missing as NaN."""
    import xarray as xr

    group, _, name = (key or "").rpartition("/")
    with xr.open_dataset(path, group=group or None, decode_times=False) as data:
        names = [str(n) for n in (data.data_vars if key is None else data.variables)]
        return np.array(data[_only_key(path, names, name or None)].values)


def _read_hdf5(path: Path, key: str | None) -> np.ndarray:
    import h5py

    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visititems(lambda n, item: names.append(n) if isinstance(item, h5py.Dataset) else None)
        name = key.strip("/") if key is not None else None
        if name is not None and isinstance(file.get(name), h5py.Dataset):
            names.append(name)  # behind a link, which a visit does not follow
        data = file[_only_key(path, names, name)]
        _refuse_elsewhere(path, data)
        return np.array(data[()])


def _refuse_elsewhere(path: Path, data: h5py.Dataset) -> None:
    """The numbers must stand in the file itself, whose content is hashed, and as they are."""
    if Path(data.file.filename) != path or data.is_virtual or data.external:
        raise SpecError(f"{path}: {data.name} stands in another file; name that one")
    if scaled := {"scale_factor", "add_offset"} & set(data.attrs):
        raise SpecError(f"{path}: {data.name} has a {min(scaled)}; name the file .nc to apply it")


def _only_key(path: Path, names: list[str], key: str | None) -> str:
    if key is None and len(names) == 1:
        return names[0]
    listed = ", ".join(names[:20]) or "none"
    if key is None:
        raise SpecError(f"{path}: name one of its arrays as key; they are {listed}")
    if key not in names:
        raise SpecError(
            f"{path}: holds no array {key!r}; allowed are {listed}.{nearest(key, names)}"
        )
    return key


__all__ = ["ArrayFile", "ArrayInFile", "transposed"]
