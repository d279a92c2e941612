"""What stands of every run in the output folder, ``DIR/runs/<id>/``.

tiles/00000.safetensors   samples of a run that is not finished, with what they cost
result.nc                 its samples (`mempost.experiments.results`)
provenance.json           where they come from, with the hash of result.nc
metrics/<id>.safetensors  what a metric has measured (`mempost.experiments.measuring`)
failed.json               why it failed; gone when it is tried again
failed_state.safetensors  what a sampler held when it met a non-finite value
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mempost.core.errors import CorruptFileError
from mempost.core.identity import sha256_of
from mempost.core.sampler import Samples
from mempost.experiments.plan import Run
from mempost.experiments.results import from_tensors, read_samples, to_tensors
from mempost.experiments.store import Store


class Records:
    """Reads and writes what is kept of runs; what is absent or corrupt is None."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def path(self, run: Run, *parts: str) -> Path:
        """A path in the folder of a run."""
        return self.store.path("runs", run.id, *parts)

    # -- tiles --------------------------------------------------------------------------------

    def _tile(self, run: Run, tile: int) -> Path:
        return self.path(run, "tiles", f"{tile:05d}.safetensors")

    def write_tile(self, run: Run, tile: int, samples: Samples, cost: Mapping[str, Any]) -> None:
        """Keep the samples of a tile."""
        self.store.write_tensors(self._tile(run, tile), to_tensors(samples), cost)

    def read_tile(self, run: Run, tile: int) -> tuple[Samples, dict[str, Any]]:
        """The samples of a tile and their cost.

        Raises:
            CorruptFileError: the tile is absent or damaged.
        """
        tensors, cost = self.store.read_tensors(self._tile(run, tile))
        return from_tensors(tensors), cost

    def has_tile(self, run: Run, tile: int) -> bool:
        """Whether a tile is there, whole."""
        path = self._tile(run, tile)
        return self.store.read_or_none(self.store.read_tensors, path) is not None

    def drop_tiles(self, run: Run) -> None:
        """Forget what a finished run does not need."""
        shutil.rmtree(self.path(run, "tiles"), ignore_errors=True)
        self.path(run, "failed_state.safetensors").unlink(missing_ok=True)

    # -- finished runs ------------------------------------------------------------------------

    def samples(self, run: Run) -> Samples:
        """The samples of a finished run."""
        return read_samples(self.path(run, "result.nc"))

    def write_provenance(self, run: Run, provenance: Mapping[str, Any]) -> None:
        """Say where the samples in ``result.nc`` come from."""
        sealed = {**provenance, "result_sha256": sha256_of(self.path(run, "result.nc"))}
        self.store.write_json(self.path(run, "provenance.json"), sealed)

    def provenance(self, run: Run) -> dict[str, Any] | None:
        """The provenance of a sampled run whose result is intact, else None."""
        kept = self._json(self.path(run, "provenance.json"))

        def verify(path: Path) -> bool:
            if sha256_of(path) != kept.get("result_sha256"):
                raise CorruptFileError(f"{path} is corrupt and not used: its sha256 has changed")
            return True

        intact = kept and self.store.read_or_none(verify, self.path(run, "result.nc"))
        return kept if intact else None

    # -- failures -----------------------------------------------------------------------------

    def write_failure(self, run: Run, failure: Mapping[str, Any]) -> None:
        """Say why a run failed."""
        self.store.write_json(self.path(run, "failed.json"), failure)

    def failure(self, run: Run) -> dict[str, Any] | None:
        """Why a run failed when it was last tried, if it did."""
        return self._json(self.path(run, "failed.json"))

    def drop_failure(self, run: Run) -> None:
        """Forget a failure, before the run is tried again."""
        self.path(run, "failed.json").unlink(missing_ok=True)

    def write_failed_state(
        self, run: Run, state: Mapping[str, Tensor], values: Mapping[str, Any]
    ) -> None:
        """Keep what a sampler held when it met a non-finite value."""
        self.store.write_tensors(self.path(run, "failed_state.safetensors"), state, values)

    def _json(self, path: Path) -> Any:
        return self.store.read_or_none(self.store.read_json, path)
