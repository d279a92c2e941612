"""Arrays as hyper-parameters: immutable, compared and hashed by content.

A frozen model that holds a tensor breaks ``==``, ``hash`` and JSON. A `FrozenArray` does not:
it is written as nested lists in a spec, is equal to an array with the same numbers, and gives
a tensor of any dtype on any device.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticCustomError, core_schema

if TYPE_CHECKING:
    import torch
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler


class FrozenArray:
    """A read-only float64 or complex128 array with value semantics."""

    __slots__ = ("_digest", "_values")

    def __init__(self, values: Any) -> None:
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
        """Nested lists; complex arrays as ``{"real": ..., "imag": ...}``."""
        if np.iscomplexobj(self._values):
            return {"real": self._values.real.tolist(), "imag": self._values.imag.tolist()}
        return self._values.tolist()

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrozenArray) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        return f"FrozenArray(shape={self.shape})"


class ArraySchema(GenerateJsonSchema):
    """JSON schemas in which arrays that are defaults stand as lists."""

    def encode_default(self, dft: Any) -> Any:
        return dft.tolist() if isinstance(dft, FrozenArray) else super().encode_default(dft)


class ArrayField:
    """Pydantic annotation: nested lists, NumPy arrays or tensors with ``ndim`` axes.

    Complex numbers are refused where ``real``.
    """

    def __init__(self, ndim: int | None = None, real: bool = False) -> None:
        self.ndim, self.real = ndim, real

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda a: a.tolist()),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        items: dict[str, Any] = {"type": "number"}
        for _ in range(self.ndim or 0):
            items = {"type": "array", "items": items}
        return items if self.ndim is not None else {"type": ["array", "number", "object"]}

    def _validate(self, value: Any) -> FrozenArray:
        try:
            if isinstance(value, dict) and set(value) == {"real", "imag"}:
                value = np.asarray(value["real"]) + 1j * np.asarray(value["imag"])
            array = value if isinstance(value, FrozenArray) else FrozenArray(value)
        except (ValueError, TypeError, OverflowError):
            array = None
        axes = "numbers" if self.ndim is None else f"numbers with {self.ndim} axes"
        if array is None:
            raise PydanticCustomError(
                "array", "Input should be a rectangular array of {axes}", {"axes": axes}
            )
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
        if not np.isfinite(array.numpy()).all():
            raise PydanticCustomError("array_finite", "Input should hold finite numbers only", {})
        return array


Array = Annotated[FrozenArray, ArrayField()]
RealArray = Annotated[FrozenArray, ArrayField(real=True)]
Vector = Annotated[FrozenArray, ArrayField(ndim=1, real=True)]
Matrix = Annotated[FrozenArray, ArrayField(ndim=2, real=True)]
ComplexVector = Annotated[FrozenArray, ArrayField(ndim=1)]
ComplexMatrix = Annotated[FrozenArray, ArrayField(ndim=2)]
