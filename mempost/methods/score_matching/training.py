"""Training a denoiser by denoising score matching.

    minimise over the network   E lambda(sigma) [ |D(u) - x|^2 + c sigma^2 |S(u)|^2 ] / d,
    u = x + sigma e,            S = (D - u)/sigma^2,

over training examples x, levels sigma and noise e. Without a penalty (c = 0) the minimiser is
E[x | u] under the training set: the exact score of its kernel density, which memorizes. With it,
the minimiser is S = (E[x | u] - u)/(sigma^2 + c) whatever the weighting.

Adam with half a cosine from the first learning rate to the last, clipping of the gradient's norm,
and averaged weights: after step k they are moved by 1 - min(ema, (1 + k)/(10 + k)) to the new ones.

Step k draws from ``streams.at(0, k)``: a run that is taken up at a checkpoint gives the bits of one
that was never interrupted.

References: Vincent 2011, "A connection between score matching and denoising autoencoders";
Baptista, Dasgupta, Kovachki, Oberai & Stuart 2025, "Memorization and regularization in generative
diffusion models" (the penalty); Kingma & Ba 2015, "Adam: a method for stochastic optimization".
"""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mempost.core import keeping
from mempost.core.errors import NonFiniteError
from mempost.core.prior import State
from mempost.core.progress import Progress
from mempost.core.streams import Stream, Streams
from mempost.methods.score_matching.denoiser import Denoiser
from mempost.methods.score_matching.history import BLOCKS, History
from mempost.methods.score_matching.parametrisation import loss_weight
from mempost.methods.score_matching.settings import TrainingSettings

CHECKPOINT_SECONDS = 15.0
"""Time between checkpoints; their moments do not change the result."""

Weights = dict[str, Tensor]


class Training:
    """A training run: its state, and how a step moves it.

    Attributes:
        step: steps done.
        average: the averaged weights by name, which answer after training.
        history: the curves so far.
        snapshots: averaged weights after the steps that were asked for.
    """

    def __init__(
        self, settings: TrainingSettings, denoiser: Denoiser, x: Float[Tensor, "n d"]
    ) -> None:
        self.settings, self.denoiser, self.x = settings, denoiser, x
        self.step = 0
        self._named = dict(denoiser.network.named_parameters())
        self._weights = list(self._named.values())
        self.average = {name: w.detach().clone() for name, w in self._named.items()}
        self.snapshots: dict[int, Weights] = {}
        self.history = History(denoiser.low, denoiser.high)
        self._adam = torch.optim.Adam(self._weights, fused=x.device.type in ("cpu", "cuda"))
        self._block = max(1, settings.steps // BLOCKS)

    def run(self, streams: Streams, progress: Progress, name: str) -> None:
        """All steps that are left, with checkpoints under ``name``.

        Raises:
            NonFiniteError: a loss or gradient is not finite; the last finite weights are attached,
                and kept under ``name`` with "-stopped" behind it.
        """
        kept = keeping.load(name)
        if kept is not None:
            self._restore(kept)
        total, first = self.settings.steps, self.step
        begun = saved = time.monotonic()
        while self.step < total:
            try:
                self._advance(streams.at(0, self.step))
            except NonFiniteError as error:
                keeping.save(f"{name}-stopped", State(dict(error.state or {}), {"step": self.step}))
                raise
            if self.step % self._block == 0 or self.step == total:
                loss = self.history.close(self.step, learning_rate(self.settings, self.step - 1))
                now = time.monotonic()
                left = (now - begun) / (self.step - first) * (total - self.step)
                if now - saved >= CHECKPOINT_SECONDS and self.step < total:
                    keeping.save(name, self._state())
                    saved = time.monotonic()
                progress(self.step, total, f"loss {loss:.3g}, {_duration(left)} left")
        if self.snapshots:
            keeping.save(name, self._state())
        else:
            keeping.drop(name)

    def _advance(self, stream: Stream) -> None:
        """One gradient step."""
        losses, sigma, error = self._losses(stream)
        loss = losses.mean()
        for weight in self._weights:
            weight.grad = None
        loss.backward()
        limit = math.inf if self.settings.clip is None else self.settings.clip
        gradients = torch.nn.utils.clip_grad_norm_(self._weights, limit, foreach=True)
        norm, value = float(gradients), float(loss.detach())
        if not (math.isfinite(norm) and math.isfinite(value)):
            raise self._non_finite(losses)
        self._adam.param_groups[0]["lr"] = learning_rate(self.settings, self.step)
        self._adam.step()
        self.step += 1
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            get_ema_multi_avg_fn(decay)(list(self.average.values()), self._weights, self.step)
        if self.step in self.settings.snapshots:
            self.snapshots[self.step] = {k: w.clone() for k, w in self.average.items()}
        self.history.add(value, norm, sigma, error.detach())

    def _losses(self, stream: Stream) -> tuple[Tensor, Tensor, Tensor]:
        """Losses (batch,), levels, and squared errors per coordinate in units of sigma_data^2."""
        settings, denoiser, batch = self.settings, self.denoiser, self.settings.batch
        levels = settings.levels.draw(batch, stream)
        x = self.x[stream.integers(len(self.x), (batch,)).to(self.x.device)]
        noise = stream.normal(tuple(x.shape), x.dtype, x.device)
        sigma = levels.to(x)[:, None]
        u = x + sigma * noise
        mean = denoiser.inside(u, sigma)
        error = (mean - x).square().mean(-1)
        total = error
        if settings.tikhonov > 0:
            total = error + settings.tikhonov * ((mean - u) / sigma).square().mean(-1)
        weight = loss_weight(
            settings.weighting, settings.parametrisation, sigma, denoiser.sigma_data
        )
        return weight[:, 0] * total, levels, error / denoiser.sigma_data**2

    def _non_finite(self, losses: Tensor) -> NonFiniteError:
        bad = torch.nonzero(~torch.isfinite(losses.detach()))
        quantity, sample = ("training loss", int(bad[0])) if len(bad) else ("gradient", None)
        weights = {name: w.detach().clone() for name, w in self._named.items()}
        remedy = "take a smaller learning_rate"
        return NonFiniteError(quantity, self.step + 1, sample, weights, remedy)

    # -- checkpoints --------------------------------------------------------------------------

    def _state(self) -> State:
        tensors = dict(self.history.tensors())
        for name, weight in self._named.items():
            moments = self._adam.state[weight]
            tensors[f"weights.{name}"] = weight.detach().clone()
            tensors[f"average.{name}"] = self.average[name].clone()
            tensors[f"first_moment.{name}"] = moments["exp_avg"].clone()
            tensors[f"second_moment.{name}"] = moments["exp_avg_sq"].clone()
        tensors |= snapshot_tensors(self.snapshots)
        return State(tensors, {"step": self.step})

    def _restore(self, state: State) -> None:
        tensors, self.step = state.tensors, int(state.values["step"])
        moments: dict[int, dict[str, Any]] = {}
        with torch.no_grad():
            for i, (name, weight) in enumerate(self._named.items()):
                weight.copy_(tensors[f"weights.{name}"])
                self.average[name].copy_(tensors[f"average.{name}"])
                moments[i] = {
                    "step": torch.tensor(float(self.step)),
                    "exp_avg": tensors[f"first_moment.{name}"].to(weight),
                    "exp_avg_sq": tensors[f"second_moment.{name}"].to(weight),
                }
        groups = self._adam.state_dict()["param_groups"]
        self._adam.load_state_dict({"state": moments, "param_groups": groups})
        self.history = History.from_tensors(self.denoiser.low, self.denoiser.high, tensors)
        self.snapshots = {
            k: {name: w.to(self.x) for name, w in weights.items()}
            for k, weights in snapshots_from(tensors).items()
        }


def learning_rate(settings: TrainingSettings, k: int) -> float:
    """Learning rate of step k = 0, ..., steps - 1: half a cosine from the first to the last."""
    first, last = settings.learning_rate, settings.final_learning_rate
    part = k / max(1, settings.steps - 1)
    return last + (first - last) * (1 + math.cos(math.pi * part)) / 2


def snapshot_tensors(snapshots: dict[int, Weights]) -> dict[str, Tensor]:
    """Snapshots as named tensors, ``snapshot.STEP.NAME``."""
    return {f"snapshot.{k}.{n}": w for k, weights in snapshots.items() for n, w in weights.items()}


def snapshots_from(tensors: dict[str, Tensor]) -> dict[int, Weights]:
    """The inverse of `snapshot_tensors`; other names are left alone."""
    snapshots: dict[int, Weights] = {}
    for name, tensor in tensors.items():
        if name.startswith("snapshot."):
            _, step, rest = name.split(".", 2)
            snapshots.setdefault(int(step), {})[rest] = tensor
    return dict(sorted(snapshots.items()))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
