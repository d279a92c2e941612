"""What samplers ask of an operator is what docs/writing_a_plugin.md says."""

import numpy as np
import pytest
import torch
from test_documented_plugins import rows, spans

from mempost.core.errors import PluginError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.operator import ForwardOperator
from mempost.core.problem import InverseProblem
from mempost.core.registry import REGISTRIES
from mempost.core.streams import Streams
from mempost.testing import plugin_named
from mempost.testing.examples import FALLBACKS, PROBLEMS, gaussian_problem, mixture_problem

USES = set()
ASKED = {
    "values": set(),
    "values and pullbacks, through `operator(x)`": {"vjp"},
    "those, and the pullback of the pullback for J v": {"vjp", "jvp"},
    "`jacobian`": {"jacobian"},
}


class Spy(torch.autograd.Function):
    """A x, or A^T w, noting every use: of values, pullbacks, and pullbacks of these."""

    @staticmethod
    def forward(x, A, order):
        USES.add(("value", "vjp", "jvp")[order])
        return x @ A.mT

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, ctx.A, ctx.order = inputs

    @staticmethod
    def backward(ctx, g):
        return Spy.apply(g, ctx.A.mT, ctx.order + 1), None, None


class Watched(ForwardOperator):
    """A x with a note of what is asked for."""

    tags = frozenset({"linear"})
    rows: tuple[tuple[float, ...], ...]

    def range_shape(self, domain_shape):
        return (len(self.rows),)

    def forward(self, x):
        return Spy.apply(x, torch.tensor(self.rows).to(x), 0)

    def jacobian(self, x, basis=None):
        USES.add("jacobian")
        A = torch.tensor(self.rows).to(x)
        return x @ A.mT, (A if basis is None else A @ basis).expand(len(x), -1, -1)

    def jvp(self, x, v):
        raise AssertionError("a sampler calls operator.jvp or operator.vjp")

    vjp = jvp


def watched(sampler):
    """The first example problem that the sampler takes, with a watched operator."""
    for build in (mixture_problem, gaussian_problem, *PROBLEMS.values(), *FALLBACKS.values()):
        known = build()
        if known.y.is_complex():
            continue
        matrix = known.operator.matrix.tensor().tolist()
        operator = Watched(rows=tuple(map(tuple, matrix)))
        problem = InverseProblem(known.prior, operator, GaussianNoise(known.noise.std), known.y)
        try:
            sampler.check(problem)
        except PluginError:
            continue
        return problem
    raise AssertionError("no example problem is accepted")


def test_every_sampler_that_asks_for_the_operator_is_in_the_table():
    listed = [name for _, names in rows("what is asked of F") for name in spans(names)]
    offered = REGISTRIES["sampler"].candidates
    own = {name for name, entries in offered.items() if entries[0].distribution == "mempost"}
    assert sorted(listed) == sorted(own - {"reverse_diffusion", "distorted"})


@pytest.mark.parametrize(
    ("asked", "name"),
    [(a.strip(), n) for a, names in rows("what is asked of F") for n in spans(names)],
)
def test_samplers_ask_what_the_table_says(asked, name):
    sampler = plugin_named(f"sampler:{name}")
    problem = watched(sampler)
    USES.clear()
    sampler.sample(problem, 4, Streams(0, "sampling"))
    assert USES - {"value"} == ASKED[asked]


class Detached(ForwardOperator):
    """exp(x) by NumPy: torch cannot see how it depends on x."""

    def forward(self, x):
        return torch.from_numpy(np.exp(x.detach().numpy()))


@pytest.mark.parametrize("name", ["dps", "mala", "gauss_newton_dps", "ula"])
def test_an_operator_that_leaves_torch_is_not_taken_for_a_constant(name):
    known = mixture_problem()
    noise = GaussianNoise(known.noise.std)
    problem = InverseProblem(known.prior, Detached(), noise, torch.ones(known.dimension).double())
    assert Detached()(torch.zeros(2, 3)).shape == (2, 3)
    with pytest.raises(PluginError, match=r"Detached\.forward has no derivative"):
        plugin_named(f"sampler:{name}").sample(problem, 4, Streams(0, "sampling"))
