"""The output folder: atomic writes, plain formats, and nothing trusted that was altered.

    DIR/table.csv                one row a run
    DIR/figures/*.png, *.pdf
    DIR/report.html
    DIR/runs/<id>/result.nc      xarray DataTree, groups as ArviZ names them
    DIR/runs/<id>/provenance.json
    DIR/runs/<id>/tiles/*.safetensors    samples of a run that is not finished
    DIR/runs/<id>/failed_state.safetensors   what a sampler held when it met a non-finite value
    DIR/runs/<id>/kept/<hash>            marks what the run has used of DIR/kept
    DIR/kept/<hash>.safetensors          fitted priors, Jacobians, training half done; for all runs

Tensors are kept as safetensors with their JSON beside them in the same file; nothing is pickled.
Every file of tensors or JSON carries a seal: the sha256 of its own name below the folder and of all
that it says (of tensors the names, types, shapes and numbers). So what was altered, or moved to the
place of another, is named and not used; a folder may be moved as a whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mempost.core.errors import CorruptFileError, SpecError
from mempost.core.prior import State

FORMAT = "3"
SEAL = "seal"


class Store:
    """Reads and writes below one folder; names are checked, so that no path escapes it."""

    def __init__(self, folder: Path) -> None:
        try:
            self.folder = folder.resolve()
        except (OSError, RuntimeError, ValueError) as error:  # a circle of links, a null in a name
            raise SpecError(f"{folder}: is no folder to write to: {error}") from None

    def path(self, *parts: str) -> Path:
        """A path below the folder.

        Raises:
            SpecError: a part is not a plain file name.
        """
        for part in parts:
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", part):
                raise SpecError(f"{part!r} is not a plain file name")
        return self.folder.joinpath(*parts)

    def write(self, path: Path, content: bytes) -> None:
        """Write a whole file or none: to a temporary neighbour, then renamed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def drop_temporaries(self) -> None:
        """Remove what writers that were killed have left behind."""
        for path in self.folder.rglob(".*"):
            if re.fullmatch(r"\..+\.\d+\.[0-9a-f]{8}", path.name) and path.is_file():
                path.unlink(missing_ok=True)

    def write_json(self, path: Path, value: Mapping[str, Any]) -> None:
        """Indented JSON with its seal; NaN is written as null."""
        plain = _jsonable(value)
        sealed = {**plain, SEAL: self._seal(path, [_canonical(plain)])}
        self.write(path, (json.dumps(sealed, indent=2, allow_nan=False) + "\n").encode())

    def read_json(self, path: Path) -> dict[str, Any]:
        """The inverse of `write_json`.

        Raises:
            CorruptFileError: it is not JSON, or not what was written under this name.
        """
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError, RecursionError) as error:
            raise CorruptFileError(f"{path} is corrupt and not used: {error}") from None
        found = value.pop(SEAL, None) if isinstance(value, dict) else None
        if found is None:
            raise CorruptFileError(
                f"{path} is not used: it has no seal, so it was altered or is old"
            )
        if found != self._seal(path, [_canonical(value)]):
            raise CorruptFileError(f"{path} {_ALTERED}")
        return value

    def write_tensors(
        self, path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]
    ) -> None:
        """Named tensors and JSON values in one safetensors file, with its seal."""
        plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        text = json.dumps(_jsonable(values), allow_nan=False)
        seal = self._seal(path, [text.encode(), *_described(plain)])
        metadata = {"format": FORMAT, "values": text, SEAL: seal}
        self.write(path, safetensors.torch.save(plain, metadata))

    def read_tensors(self, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The inverse of `write_tensors`.

        Raises:
            CorruptFileError: damaged, of another format version, or not what was written under
                this name.
        """
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except Exception as error:
            raise CorruptFileError(f"{path} is corrupt and not used: {error}") from None
        if metadata.get("format") != FORMAT:
            found = metadata.get("format", "none")
            raise CorruptFileError(
                f"{path} is of format {found}, this version reads {FORMAT}: not used"
            )
        text = metadata.get("values", "")
        if metadata.get(SEAL) != self._seal(path, [text.encode(), *_described(tensors)]):
            raise CorruptFileError(f"{path} {_ALTERED}")
        return tensors, json.loads(text)

    def _seal(self, path: Path, parts: Iterable[bytes | memoryview]) -> str:
        """sha256 of a file's name below the folder and of what it says."""
        inside = path.is_relative_to(self.folder)
        name = path.relative_to(self.folder).as_posix() if inside else path.name
        digest = hashlib.sha256(f"{FORMAT} {name}\0".encode())
        for part in parts:
            digest.update(part)
            digest.update(b"\0")
        return digest.hexdigest()

    def read_or_none(self, read: Callable[[Path], Any], path: Path) -> Any:
        """What ``read(path)`` gives; None, with a warning that names it, if absent or corrupt."""
        if not path.exists():
            return None
        try:
            return read(path)
        except CorruptFileError as error:
            warnings.warn(str(error), stacklevel=2)
            return None


class KeptFolder:
    """The shelf of a store: what plugins keep by its hash (see `mempost.core.keeping`).

    Args:
        store: the output folder.
        owner: the folder of the run that uses the shelf; there stands a mark
            ``kept/<name>`` for everything that it has used, so that it is known what nobody does.
    """

    def __init__(self, store: Store, owner: Path | None = None) -> None:
        self.store, self.owner = store, owner
        self._marked: set[str] = set()

    def _path(self, name: str) -> Path:
        return self.store.path("kept", f"{name}.safetensors")

    def holds(self, name: str) -> bool:
        return self._path(name).exists()

    def load(self, name: str) -> State | None:
        kept = self.store.read_or_none(self.store.read_tensors, self._path(name))
        return None if kept is None else State(*kept)

    def save(self, name: str, state: State) -> None:
        self.store.write_tensors(self._path(name), *state)

    def drop(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def mark(self, name: str) -> None:
        if self.owner is not None and name not in self._marked:
            self._marked.add(name)
            (self.owner / "kept").mkdir(parents=True, exist_ok=True)
            (self.owner / "kept" / name).touch()


_ALTERED = "is corrupt and not used: it was altered, or belongs elsewhere (its seal does not fit)"


def _described(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """Names, types, shapes and numbers, in the order of names."""
    for name in sorted(tensors):
        t = tensors[name]
        yield f"{name} {t.dtype} {tuple(t.shape)}".encode()
        yield t.flatten().view(torch.uint8).numpy().data


def _canonical(value: Any) -> bytes:
    """JSON by which equal values have equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return str(value)
    return value
