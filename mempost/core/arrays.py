"""Arrays as hyper-parameters: immutable, compared and hashed by content.

A frozen model that holds a tensor breaks ``==``, ``hash`` and JSON. A `FrozenArray` does not:
it is written in a spec as nested lists, or as a file that holds the numbers
(``{type: file, path: data.npy}``), is equal to an array with the same numbers, and gives a tensor
of any dtype on any device.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import ValidationError, ValidationInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticCustomError, PydanticKnownError, core_schema

from mempost.core.array_file import ArrayInFile
from mempost.core.errors import MempostError, shown
from mempost.core.numbers import LARGEST, is_number

if TYPE_CHECKING:
    import torch
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler


MOST_AXES = 32


class FrozenArray:
    """A read-only float64 or complex128 array with value semantics.

    Attributes:
        files: the files that the numbers were read from, if they were.
    """

    __slots__ = ("_digest", "_values", "files")

    def __init__(self, values: Any, files: tuple[ArrayInFile, ...] = ()) -> None:
        self.files = files
        if hasattr(values, "detach"):  # a tensor
            values = values.detach().cpu().numpy()
        array = np.array(values)
        array = array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)
        array.setflags(write=False)
        self._values = array
        payload = f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()
        self._digest = hashlib.sha256(payload).digest()

    @property
    def shape(self) -> tuple[int, ...]:
        return self._values.shape

    @property
    def ndim(self) -> int:
        return self._values.ndim

    def numpy(self) -> np.ndarray:
        """The read-only array itself."""
        return self._values

    def tensor(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> torch.Tensor:
        """A fresh tensor; ``dtype=None`` keeps float64 or complex128."""
        import torch

        return torch.tensor(self._values.copy(), dtype=dtype, device=device)

    def tolist(self) -> Any:
        """Nested lists; complex arrays as ``{"real": ..., "imag": ...}``, None for NaN."""
        if np.iscomplexobj(self._values):
            return {"real": _listed(self._values.real), "imag": _listed(self._values.imag)}
        return _listed(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrozenArray) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return f"FrozenArray(shape={self.shape})"

    def dump(self) -> Any:
        """What stands for the array in a spec: the one file it is read from, or its numbers."""
        if len(self.files) == 1:
            return self.files[0].model_dump(mode="json")
        return self.tolist()


class ArraySchema(GenerateJsonSchema):
    """JSON schemas in which arrays that are defaults stand as lists."""

    def encode_default(self, dft: Any) -> Any:
        return dft.tolist() if isinstance(dft, FrozenArray) else super().encode_default(dft)


class ArrayField:
    """Pydantic annotation: nested lists, NumPy arrays, tensors or a file, with ``ndim`` axes.

    Complex numbers, also written ``{real: ..., imag: ...}``, are refused where ``real``. Of an
    array in a file, axes of length one come and go to give ``ndim``. Where numbers may be
    ``missing``, null or NaN stands for them.
    """

    def __init__(self, ndim: int | None = None, real: bool = False, missing: bool = False) -> None:
        self.ndim, self.real, self.missing = ndim, real, missing

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(
            self._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda a: a.dump()),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        items: dict[str, Any] = {"type": "number"}
        for _ in range(self.ndim or 0):
            items = {"type": "array", "items": items}
        if self.ndim is None:
            items = {"type": ["array", "number"]}
        parts = {"type": "object", "required": ["real", "imag"]}
        file = ArrayInFile.model_json_schema()
        return {"anyOf": [items, file] if self.real else [items, file, parts]}

    def _validate(self, value: Any, info: ValidationInfo) -> FrozenArray:
        axes = "numbers" if self.ndim is None else f"numbers with {self.ndim} axes"
        try:
            array = self._array(value, info)
        except ValidationError:  # of what says which file
            raise
        except (ValueError, TypeError, OverflowError) as error:
            raise PydanticCustomError(
                "array",
                "Input should be a rectangular array of {axes}{why}",
                {"axes": axes, "why": f": {error}" if isinstance(error, _ArrayError) else ""},
            ) from None
        if self.ndim is not None and array.ndim != self.ndim:
            raise PydanticCustomError(
                "array_axes",
                "Input should be a rectangular array of {axes}, found shape {shape}",
                {"axes": axes, "shape": str(array.shape)},
            )
        if array.numpy().size == 0:
            raise PydanticCustomError("array_empty", "Input should hold at least one number", {})
        if self.real and np.iscomplexobj(array.numpy()):
            raise PydanticCustomError("array_real", "Input should hold real numbers only", {})
        absent = np.isnan(array.numpy()) & self.missing
        if not (np.isfinite(array.numpy()) | absent).all():
            raise PydanticCustomError("array_finite", "Input should hold finite numbers only", {})
        if not absent.any():
            return array
        return FrozenArray(np.where(absent, np.nan, array.numpy()), array.files)

    def _array(self, value: Any, info: ValidationInfo) -> FrozenArray:
        if isinstance(value, FrozenArray):
            return value
        if isinstance(value, dict) and set(value) == {"real", "imag"}:
            real, imag = self._array(value["real"], info), self._array(value["imag"], info)
            if real.shape != imag.shape:
                raise _ArrayError(f"real has shape {real.shape}, imag {imag.shape}")
            return FrozenArray(real.numpy() + 1j * imag.numpy(), (*real.files, *imag.files))
        if isinstance(value, dict):
            file = ArrayInFile.model_validate(value, context=info.context)
            try:
                return FrozenArray(self._with_axes(file.read(self.missing)), (file,))
            except MempostError as error:
                raise PydanticCustomError("array_file", "{why}", {"why": str(error)}) from None
        return FrozenArray(_numbers(value, self.missing))

    def _with_axes(self, array: np.ndarray) -> np.ndarray:
        """The array with ``ndim`` axes, if that is a matter of axes of length one."""
        long = tuple(n for n in array.shape if n > 1)
        if self.ndim is None or array.ndim == self.ndim or len(long) != self.ndim:
            return array
        return array.reshape(long)


class _ArrayError(ValueError):
    """What is wrong with an array, in words."""


def _listed(values: np.ndarray) -> Any:
    """Nested lists with None for NaN, which JSON does not have."""
    listed = values.astype(object)
    listed[np.isnan(values)] = None
    return listed.tolist()


def _numbers(value: Any, missing: bool, depth: int = 0) -> Any:
    """Nested lists as they are, the text of numbers as numbers; anything else is refused."""
    if not isinstance(value, list | tuple):
        if value is None and missing and depth:
            return np.nan
        if isinstance(value, str) and is_number(value):
            return float(value)
        if not (is_number(value) or isinstance(value, complex) or hasattr(value, "dtype")):
            raise _ArrayError(f"{shown(value)} is no number")
        if "bool" in str(getattr(value, "dtype", "")):
            raise _ArrayError("booleans are no numbers")
        return value
    if depth > MOST_AXES:
        raise _ArrayError(f"it has more than {MOST_AXES} axes")
    if set(map(type, value)) <= {int, float}:
        return value
    return [_numbers(item, missing, depth + 1) for item in value]


class NumberField:
    """Pydantic annotation: one real number, or an array of them, all above ``gt`` (or ``ge``).

    In a recipe of noise an array holds a number for every datum.
    """

    def __init__(self, gt: float | None = None, ge: float | None = None) -> None:
        self.gt, self.ge, self.array = gt, ge, ArrayField(real=True)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(
            self._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: value.dump() if isinstance(value, FrozenArray) else value
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        bounds = {"exclusiveMinimum": self.gt, "minimum": self.ge}
        number = {"type": "number", **{k: v for k, v in bounds.items() if v is not None}}
        return {"anyOf": [number, {"type": "array"}, ArrayInFile.model_json_schema()]}

    def _validate(self, value: Any, info: ValidationInfo) -> float | FrozenArray:
        if isinstance(value, int) and abs(value) > LARGEST:
            raise PydanticKnownError("finite_number")
        alone = is_number(value) and np.ndim(value) == 0
        found = float(value) if alone else self.array._validate(value, info)
        numbers = np.asarray(found) if isinstance(found, float) else found.numpy()
        if not np.isfinite(numbers).all():
            raise PydanticKnownError("finite_number")
        if self.gt is not None and not (numbers > self.gt).all():
            raise PydanticKnownError("greater_than", {"gt": self.gt})
        if self.ge is not None and not (numbers >= self.ge).all():
            raise PydanticKnownError("greater_than_equal", {"ge": self.ge})
        return found


Array = Annotated[FrozenArray, ArrayField()]
Data = Annotated[FrozenArray, ArrayField(missing=True)]
Positive = Annotated[float | FrozenArray, NumberField(gt=0)]
NonNegative = Annotated[float | FrozenArray, NumberField(ge=0)]
RealArray = Annotated[FrozenArray, ArrayField(real=True)]
Vector = Annotated[FrozenArray, ArrayField(ndim=1, real=True)]
Matrix = Annotated[FrozenArray, ArrayField(ndim=2, real=True)]
ComplexVector = Annotated[FrozenArray, ArrayField(ndim=1)]
ComplexMatrix = Annotated[FrozenArray, ArrayField(ndim=2)]
