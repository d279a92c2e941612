"""A learned prior after training: answers at every noise level, draws, and its stored form.

At z = a x + s e the denoiser is asked at u = z/a and sigma = s/a, so that a network trained on one
schedule serves samplers on another. Draws follow the probability flow

    du/dsigma = (u - D(u, sigma))/sigma

from N(mu, (sigma_max^2 + sigma_data^2) I) down to sigma_min by Heun's method, on levels whose
seventh roots are equally spaced, and end with the denoiser there.

Reference: Karras, Aittala, Aila & Laine 2022, "Elucidating the design space of diffusion-based
generative models" (algorithm 1).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Self

import torch
from pydantic import ValidationError
from torch import Tensor

from mempost.core import flow
from mempost.core.errors import CorruptFileError, PluginError
from mempost.core.fields import PluginField
from mempost.core.level import NoiseLevel
from mempost.core.network import Network
from mempost.core.prior import FittedPrior, State
from mempost.core.schedule import power_spaced
from mempost.core.streams import TILE, Stream
from mempost.methods.score_matching.denoiser import Denoiser
from mempost.methods.score_matching.history import History
from mempost.methods.score_matching.training import (
    Weights,
    snapshot_tensors,
    snapshots_from,
)

FORMAT = 1
"""Version of the stored form."""

NETWORK = PluginField("network")


class FittedScore(FittedPrior):
    """A trained denoiser.

    Attributes:
        denoiser: the network with its scales and range.
        network: the recipe of the network.
        history: the curves of training.
        snapshots: weights after the steps that were asked for, by step.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        denoiser: Denoiser,
        network: Network,
        sample_steps: int,
        history: History,
        snapshots: dict[int, Weights],
    ) -> None:
        """``denoiser`` sets dtype and device; its weights are no longer trained."""
        super().__init__(shape, denoiser.centre)
        denoiser.network.eval().requires_grad_(False)
        self.denoiser, self.network = denoiser, network
        self.sample_steps, self.history, self.snapshots = sample_steps, history, snapshots

    def at_step(self, step: int) -> FittedScore:
        """The prior with the weights of a snapshot.

        Raises:
            PluginError: no snapshot was taken at this step.
        """
        if step not in self.snapshots:
            kept = ", ".join(map(str, self.snapshots)) or "none"
            raise PluginError(f"no snapshot of step {step}; steps kept are {kept}")
        earlier = _loaded(self.network, self.shape, self.denoiser, self.snapshots[step])
        other = FittedScore(
            self.shape, earlier, self.network, self.sample_steps, self.history, self.snapshots
        )
        other.coordinates = self.coordinates
        return other

    def _denoise(self, z: Tensor, a: Tensor, s: Tensor) -> Tensor:
        return self.denoiser(z / a, s / a)

    @property
    def draw_calls(self) -> int:
        return 2 * self.sample_steps + 1

    def _draw(self, stream: Stream) -> Tensor:
        low, high = self.denoiser.low, self.denoiser.high
        t = torch.linspace(1.0, 0.0, self.sample_steps + 1, dtype=torch.float64)
        sigmas = power_spaced(t, low, high).tolist()
        noise = stream.normal((TILE, self.dimension), self.dtype, self.device)
        u = self.denoiser.centre + math.hypot(high, self.denoiser.sigma_data) * noise
        levels = [NoiseLevel(1.0, sigma) for sigma in sigmas]
        with torch.no_grad():
            return flow.descend(self.denoise, u, levels, order=2)

    # -- stored -------------------------------------------------------------------------------

    def _state(self) -> State:
        weights = self.denoiser.network.state_dict()
        tensors = {f"network.{name}": weight for name, weight in weights.items()}
        tensors |= {"centre": self.denoiser.centre}
        tensors |= {**self.history.tensors(), **snapshot_tensors(self.snapshots)}
        values = {
            "format": FORMAT,
            "network": NETWORK.dump(self.network),
            "parametrisation": self.denoiser.parametrisation,
            "sigma_data": self.denoiser.sigma_data,
            "sigma_range": [self.denoiser.low, self.denoiser.high],
            "sample_steps": self.sample_steps,
        }
        return State(tensors, values)

    @classmethod
    def from_state(cls, state: State) -> Self:
        """The inverse of `state`.

        Raises:
            CorruptFileError: the state is of another format, or something is missing in it.
        """
        found = state.values.get("format")
        if found != FORMAT:
            raise CorruptFileError(
                f"learned_score: a stored prior of format {found}; this version reads {FORMAT}"
            )
        try:
            return super().from_state(state)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else _one_line(error)
            raise CorruptFileError(f"learned_score: a stored prior is damaged: {what}") from error

    @classmethod
    def _from_state(cls, state: State) -> Self:
        tensors, values = state
        low, high = values["sigma_range"]
        network = NETWORK.make(values["network"])
        weights = {
            name.removeprefix("network."): tensor
            for name, tensor in tensors.items()
            if name.startswith("network.")
        }
        centre = tensors["centre"]
        bare = Denoiser(
            torch.nn.Identity(), values["parametrisation"], centre, values["sigma_data"], low, high
        )
        return cls(
            values["shape"],
            _loaded(network, values["shape"], bare, weights),
            network,
            values["sample_steps"],
            History.from_tensors(low, high, tensors),
            snapshots_from(tensors),
        )


def _loaded(network: Network, shape: tuple[int, ...], like: Denoiser, weights: Weights) -> Denoiser:
    """A denoiser with a network of its own that has these weights."""
    with torch.random.fork_rng(devices=[]):
        module = network.build(shape).to(like.centre)
    module.load_state_dict(weights)
    return replace(like, network=module)


def _one_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return " ".join(str(error).split())


__all__ = ["FORMAT", "FittedScore"]
