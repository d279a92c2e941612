"""Samplers that are iterations: an explicit state, moved step by step.

    state_0 = init(problem, stream),    state_k = step(problem, state_{k-1}, k, stream),   k = 1..K

A state is a dict of tensors whose first axis counts the samples, and it is all that the next
step needs. Step k of tile j draws from ``streams.at(j, k)``, so that a state that was saved, loaded
and moved on gives the same bits as a run without the interruption.

Where fewer samples are asked for than fill a tile, the other rows repeat these, with their random
numbers: what becomes of a run is decided by the samples that were asked for.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mempost.core.errors import NonFiniteError
from mempost.core.extent import require_within
from mempost.core.problem import InverseProblem
from mempost.core.progress import Progress, silent
from mempost.core.sampler import Samples, TiledSampler, require_finite
from mempost.core.streams import TILE, RepeatedRows, Stream, Streams
from mempost.core.trajectory import Trajectory

SamplerState = Mapping[str, Tensor]
"""Named tensors (batch, ...): all that the next step needs, and what a checkpoint saves."""


class IterativeSampler(TiledSampler):
    """A sampler that moves a state; authors override ``n_steps``, ``init`` and ``step``.

    A step returns a new state and leaves the old one as it is. It computes row i of the new
    state from row i of the old one and row i of its draws.
    """

    tile: int = Field(
        TILE,
        ge=TILE,
        multiple_of=TILE,
        description="samples stepped together; more are faster where a step is cheap, and change "
        "the random numbers",
    )

    @property
    def tile_size(self) -> int:
        return self.tile

    @property
    @abstractmethod
    def n_steps(self) -> int:
        """K, the number of steps."""

    @abstractmethod
    def init(self, problem: InverseProblem, stream: Stream) -> SamplerState:
        """The state before the first step, `TILE` rows; called until the tile is full."""

    @abstractmethod
    def step(
        self, problem: InverseProblem, state: SamplerState, k: int, stream: Stream
    ) -> SamplerState:
        """The state after step k = 1, ..., K."""

    def is_draw(self, k: int) -> bool:
        """Whether the state after step k is kept as a draw; by default the last one alone."""
        return k == self.n_steps

    def draw(
        self, problem: InverseProblem, state: SamplerState
    ) -> tuple[Float[Tensor, "batch d"], dict[str, Tensor]]:
        """What is kept of a state: x, and statistics (batch, ...); by default its entry ``x``."""
        return state["x"], {}

    def keeps(self, k: int) -> bool:
        """Whether the state after step k (0 is the start) is wanted for `path`."""
        return False

    def path(self, states: Mapping[int, SamplerState]) -> Trajectory | None:
        """What the result keeps of the states that ``keeps`` named, by step."""
        return None

    def trajectory(
        self,
        problem: InverseProblem,
        tile: int,
        streams: Streams,
        *,
        start: tuple[int, SamplerState] | None = None,
        rows: int | None = None,
    ) -> Iterator[tuple[int, SamplerState]]:
        """States (k, state_k) of one tile for k = 0, ..., K.

        Args:
            start: a pair (k, state_k) to go on from; the first state given is then k + 1.
            rows: how many of the tile's samples are asked for; by default all of them.

        Raises:
            NonFiniteError: a tensor of a new state, named with the step and the sample, is not
                finite; the error carries the last finite state.
        """
        rows = self.tile_size if rows is None else rows
        if start is None:
            stream = streams.at(tile, 0)
            state = self._checked(lambda: self._start(problem, tile, rows, stream), {}, 0, tile)
            yield 0, state
            start = 0, state
        k, state = start
        while k < self.n_steps:
            k += 1
            stream = _repeated(streams.at(tile, k), rows, self.tile_size)
            state = self._advance(problem, state, k, tile, stream)
            yield k, state

    def _start(self, problem: InverseProblem, tile: int, rows: int, stream: Stream) -> SamplerState:
        """The first state of a tile: `init` as often as ``rows`` take, and the others repeated."""
        parts = [
            self.init(problem, _repeated(stream, min(rows - first, TILE), TILE))
            for first in range(0, rows, TILE)
        ]
        state = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        if rows == self.tile_size:
            return state
        index = torch.arange(self.tile_size) % rows
        return {name: tensor[index.to(tensor.device)] for name, tensor in state.items()}

    def _advance(
        self, problem: InverseProblem, state: SamplerState, k: int, tile: int, stream: Stream
    ) -> SamplerState:
        return self._checked(lambda: self.step(problem, state, k, stream), state, k, tile)

    def _checked(
        self, move: Callable[[], SamplerState], before: SamplerState, k: int, tile: int
    ) -> SamplerState:
        """``move()``, or a `NonFiniteError` with the step, the sample and the state before."""
        try:
            with torch.no_grad():
                after = move()
            for name, tensor in after.items():
                if tensor.is_floating_point() and tensor is not before.get(name):
                    require_finite(tensor, name)
        except NonFiniteError as error:
            sample = None if error.sample is None else tile * self.tile_size + error.sample
            remedy = error.remedy or self.advice
            raise NonFiniteError(error.quantity, k, sample, before, remedy) from error
        return after

    def sample_tile(
        self, problem: InverseProblem, tile: int, streams: Streams, progress: Progress = silent
    ) -> Samples:
        return self.sample_rows(problem, tile, self.tile_size, streams, progress)

    def sample_rows(
        self,
        problem: InverseProblem,
        tile: int,
        rows: int,
        streams: Streams,
        progress: Progress = silent,
    ) -> Samples:
        values: list[Tensor] = []
        stats: list[dict[str, Tensor]] = []
        kept: dict[int, SamplerState] = {}
        for k, state in self.trajectory(problem, tile, streams, rows=rows):
            if self.keeps(k):
                kept[k] = state
            if self.is_draw(k):
                x, of_draw = self.draw(problem, state)
                values.append(x)
                stats.append(of_draw)
            progress(k, self.n_steps)
        stacked = {name: torch.stack([s[name] for s in stats], 1) for name in stats[0]}
        drawn = torch.stack(values, 1)
        require_within(problem.prior, drawn[:rows].flatten(0, 1), self.advice)
        return Samples(drawn, stacked, trajectory=self.path(kept))


def _repeated(stream: Stream, rows: int, size: int) -> Stream:
    """The stream itself where all rows are asked for."""
    return stream if rows == size else RepeatedRows(stream, rows, size)
