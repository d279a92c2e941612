"""Checks of networks: maps of states row by row, made and stored so that they come back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mempost.core.errors import PluginError
from mempost.core.network import CLOCK, Network, dimension
from mempost.core.streams import Streams
from mempost.testing.check import Catalogue, CheckFailedError
from mempost.testing.checks.recipes import add_recipe_checks
from mempost.testing.comparison import ROUNDING, require, require_close, require_equal
from mempost.testing.randomness import twice_under_global_seeds

SHAPES: tuple[tuple[int, ...], ...] = ((6,), (6, 7), (2, 6, 7))
"""Shapes of x that are tried, in this order."""


@dataclass(frozen=True, eq=False)
class NetworkCase:
    """A network, and the shape of x where the shapes of the checks do not suit it."""

    plugin: Network
    given_shape: tuple[int, ...] | None = None

    @property
    def tags(self) -> frozenset[str]:
        return self.plugin.tags

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The first shape that the network takes."""
        if self.given_shape is not None:
            return self.given_shape
        for shape in SHAPES:
            try:
                self.module(shape=shape)
            except PluginError as error:
                reason = error
                continue
            return shape
        raise CheckFailedError(f"It refuses every shape of x ({reason}): give shape=.")

    def module(
        self,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        shape: tuple[int, ...] | None = None,
    ) -> nn.Module:
        """The module with weights of a seed, as it answers after training."""
        stream = Streams(seed, "training").at()
        like = torch.zeros(1, dtype=dtype)
        return self.plugin.initialised(shape or self.shape, stream, like).eval()

    def states(self, n: int = 5, dtype: torch.dtype = torch.float64) -> Float[Tensor, "n d"]:
        return Streams(0, "data").at().normal((n, dimension(self.shape)), dtype)

    def clocks(self, n: int = 5, dtype: torch.dtype = torch.float64) -> Float[Tensor, " n"]:
        return torch.linspace(0, CLOCK, n, dtype=dtype)


CHECKS: Catalogue[NetworkCase] = Catalogue("network", NetworkCase)
add_recipe_checks(CHECKS)


@CHECKS.add()
def shapes(case: NetworkCase) -> None:
    """States (batch, d) do not become finite (batch, d), for some size of the batch."""
    for n in (1, 5):
        y = case.module()(case.states(n), case.clocks(n))
        expected = (n, dimension(case.shape))
        require(tuple(y.shape) == expected, f"It gives {tuple(y.shape)} for states {expected}.")
        require(bool(torch.isfinite(y).all()), "It gives numbers that are not finite.")


@CHECKS.add()
def dtype_kept(case: NetworkCase) -> None:
    """The module does not answer in the dtype of the states, or another dtype says other things."""
    double = case.module()(case.states(), case.clocks())
    single = case.module(dtype=torch.float32)(
        case.states().float(), case.clocks(dtype=torch.float32)
    )
    require(double.dtype == torch.float64, f"For float64 states it gives {double.dtype}.")
    require(single.dtype == torch.float32, f"For float32 states it gives {single.dtype}.")
    require_close(single.double(), double, "Answers in float32 and in float64", 1e-3)


@CHECKS.add()
def rows_independent(case: NetworkCase) -> None:
    """What a row becomes depends on the rows beside it, or on how many there are."""
    module, x, clock = case.module(), case.states(), case.clocks()
    alone = torch.cat([module(x[i : i + 1], clock[i : i + 1]) for i in range(len(x))])
    together = module(x, clock)
    require_close(together, alone, "Rows together and alone", 100 * ROUNDING[torch.float64])


@CHECKS.add()
def state_and_clock_matter(case: NetworkCase) -> None:
    """The answer does not depend on the state, or not on the noise level."""
    module, x, clock = case.module(), case.states(), case.clocks()
    y = module(x, clock)
    require(not torch.allclose(module(x.flip(0), clock), y), "Other states have the same answers.")
    require(not torch.allclose(module(x, clock.flip(0)), y), "Another clock has the same answers.")


@CHECKS.add()
def weights_follow_the_stream(case: NetworkCase) -> None:
    """One stream gives two networks, two streams give one, or a global generator is drawn from."""
    first, second = twice_under_global_seeds(case.module)
    for name, weight in first.state_dict().items():
        require_equal(second.state_dict()[name], weight, f"{name} from one stream")
    x, clock = case.states(), case.clocks()
    same = torch.equal(case.module(seed=1)(x, clock), first(x, clock))
    require(not same, "Two streams give the same network.")


@CHECKS.add()
def stored_and_restored(case: NetworkCase) -> None:
    """The weights alone do not bring the network back: it keeps a state besides them."""
    first, other = case.module(), case.module(seed=1)
    weights = {name: weight.detach().clone() for name, weight in first.named_parameters()}
    try:
        other.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckFailedError(" ".join(str(error).split())) from error
    x, clock = case.states(), case.clocks()
    require_equal(other(x, clock), first(x, clock), "Answers of the stored weights")


@CHECKS.add()
def derivatives(case: NetworkCase) -> None:
    """The derivative along a direction is not that of the values, or a weight has no gradient."""
    module, x, clock = case.module(), case.states(), case.clocks()
    v = Streams(1, "data").at().normal(tuple(x.shape))
    step = 1e-6
    with torch.no_grad():
        slope = (module(x + step * v, clock) - module(x - step * v, clock)) / (2 * step)
    u = x.clone().requires_grad_()
    w = Streams(2, "data").at().normal(tuple(x.shape))
    value = (w * module(u, clock)).sum()
    gradient = torch.autograd.grad(value, [u, *module.parameters()], allow_unused=True)
    for (name, _), part in zip(module.named_parameters(), gradient[1:]):
        require(part is not None, f"The answer does not depend on {name}.")
    require(gradient[0] is not None, "The answer has no derivative.")
    found, expected = (v * gradient[0]).sum(), (w * slope).sum()
    require_close(found, expected, "Derivative by the chain rule and by differences", 1e-4)
