"""One memory: what counts as the same, how much it holds, and what it saves."""

import numpy as np
import pytest
import torch

from mempost.core import keeping
from mempost.core import memory as memories
from mempost.core.errors import SpecError
from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.memory import Memory, memory, remember
from mempost.core.operator import ForwardOperator
from mempost.core.plugin import Recipe
from mempost.core.problem import InverseProblem
from mempost.core.start import Latents
from mempost.core.streams import Streams
from mempost.methods.posteriors import linear_model
from mempost.plugins.operators.linear import Linear
from mempost.plugins.priors.empirical_gmm import EmpiricalGMM
from mempost.plugins.samplers.ddrm import DDRM
from mempost.plugins.samplers.exact_lgm import ExactLGM
from mempost.plugins.samplers.finite_sample import FiniteSample
from mempost.plugins.samplers.finite_sample_weights import FiniteSampleWeights


class Made:
    """Counts how often something was made."""

    def __init__(self, value=0):
        self.times, self.value = 0, value

    def __call__(self):
        self.times += 1
        return self.value


class Some(Recipe):
    number: float = 0.0


class Other(Recipe):
    number: float = 0.0


class Thing:
    pass


def times(*alternatives):
    """How many values are made for some alternatives of a key."""
    made = Made()
    for parts in alternatives:
        remember(made, "name", *parts)
    return made.times


def test_equal_contents_are_the_same():
    x = torch.arange(4.0)
    view = torch.arange(8.0)[:4]
    assert times([x], [x], [x.clone()], [view], [x.clone().requires_grad_()]) == 1
    assert times([Some(number=1)], [Some(number=1.0)]) == 1
    assert times([(1, (x, "a"))], [[1, [x.clone(), "a"]]]) == 1
    assert (
        times(["a", torch.float32, torch.device("cpu")], ["a", torch.float32, torch.device("cpu")])
        == 1
    )


def test_other_contents_are_not():
    x, thing = torch.arange(4.0), Thing()
    assert (
        times(
            [x],
            [x.double()],
            [x.reshape(2, 2)],
            [x + 1e-7],
            [torch.view_as_complex(x.reshape(2, 2))],
        )
        == 5
    )
    assert (
        times([torch.tensor(1.0)], [torch.tensor([1.0])], [torch.empty(0)], [torch.tensor(True)])
        == 4
    )
    assert times([1], [1.0], [True], ["1"], [(1,)], [None]) == 6
    assert times([Some()], [Other()], [Some(number=1)]) == 3
    assert times([thing], [Thing()], [thing], [Thing()]) == 3
    assert times(["a", "b"], ["ab"], [("a", "b")]) == 3
    z = torch.tensor([1 + 1j])
    assert times([z], [z.conj()], [z.conj().resolve_conj()]) == 2


def test_the_name_counts_and_so_does_the_number_of_threads():
    made, threads = Made(), torch.get_num_threads()
    for name in ("a", "b", "a"):
        remember(made, name, 1)
    assert made.times == 2
    try:
        torch.set_num_threads(threads + 1)  # sums may change in the last bit
        remember(made, "a", 1)
    finally:
        torch.set_num_threads(threads)
    assert made.times == 3


def test_a_tensor_that_was_changed_is_another_one():
    x = torch.zeros(3)
    y = x[1:]
    assert times([y]) == 1
    x[2] = 1.0  # through the tensor that y is a view of
    assert times([y]) == 1
    x[2] = 0.0
    assert times([y]) == 0


def test_a_tensor_is_hashed_once(monkeypatch):
    calls = []
    blake2b = memories.hashlib.blake2b
    monkeypatch.setattr(
        memories.hashlib, "blake2b", lambda *a, **k: calls.append(1) or blake2b(*a, **k)
    )
    x = torch.zeros(3)
    assert times([x], [x], [x, x]) == 2
    assert len(calls) == 1
    with torch.inference_mode():
        made_there = torch.ones(3)
    assert times([made_there], [made_there]) == 1
    assert times([x.add_(1)]) == 0 and len(calls) == 4


def test_an_object_that_is_gone_is_not_taken_for_a_new_one():
    made, addresses = Made(), set()
    for _ in range(50):
        thing = Thing()
        addresses.add(id(thing))
        remember(made, "thing", thing)
        del thing
    assert len(addresses) < 50  # some stood where an earlier one had been
    assert made.times == 50


def test_what_was_used_longest_ago_goes_first():
    store = Memory(budget=4 * 100)
    made = [Made(torch.zeros(k)) for k in (25, 50, 25, 50)]
    for k in (0, 1, 0, 2, 0, 3, 0):
        store.remember(made[k], "x", k)
    assert [m.times for m in made] == [1, 1, 1, 1]
    assert store.used == 400 and len(store) == 3
    store.remember(made[1], "x", 1)
    assert [m.times for m in made] == [1, 2, 1, 1]
    store.remember(made[0], "x", 0)
    assert made[0].times == 1
    store.forget()
    assert (store.used, len(store)) == (0, 0)


def test_what_is_too_large_is_given_and_not_remembered():
    store, made = Memory(budget=100), Made(torch.zeros(26))
    assert store.remember(made, "x") is store.remember(made, "x") is made.value
    assert (made.times, store.used) == (2, 0)


def test_bytes_are_counted_wherever_they_are_and_once():
    shared, array = torch.zeros(100), np.zeros(10)
    module = torch.nn.Linear(3, 2, bias=False)
    thing = Thing()
    thing.a = {"b": [shared, (shared[3:], module)], "c": array[2:], "itself": thing}
    store = Memory(budget=10**6)
    store.remember(lambda: thing, "one")
    assert store.used == 400 + 24 + 80
    store.remember(lambda: shared[:7], "two")
    assert store.used == 400 + 24 + 80
    store.remember(lambda: torch.zeros(2), "three")
    assert store.used == 400 + 24 + 80 + 8


def test_the_budget_is_set_in_one_place(monkeypatch):
    for text, budget in (("0.5", 2**29), ("0", 0)):
        monkeypatch.setenv("MEMPOST_MEMORY", text)
        assert memories._budget() == budget
    for text in ("much", "-1", "nan"):
        monkeypatch.setenv("MEMPOST_MEMORY", text)
        with pytest.raises(
            SpecError, match=f"MEMPOST_MEMORY is '{text}'; allowed are numbers of GiB"
        ):
            memories._budget()
    monkeypatch.delenv("MEMPOST_MEMORY")
    assert memories._budget() == 2**31


def test_what_is_remembered_counts_as_used_where_it_is_used_again():
    """So that it is known which runs stand on what is kept on disk."""

    class Shelf(dict):
        def __init__(self):
            self.marks = []

        def load(self, name):
            return self.get(name)

        def mark(self, name):
            self.marks.append(name)

    def outer():
        return remember(lambda: keeping.load("name"), "inner")

    first, second = Shelf(), Shelf()
    first["name"] = "state"
    for shelf in (first, second):
        with keeping.keeping(shelf):
            assert remember(outer, "outer") == "state"
        assert set(shelf.marks) == {"name"}


def test_a_file_of_latents_that_changes_is_read_again(tmp_path):
    path = tmp_path / "latents.npy"
    np.save(path, np.zeros((2, 3)))
    start = Latents(file=path)
    assert start.rows() is start.rows()
    np.save(path, np.ones((2, 3)))
    assert bool((start.rows() == 1).all())


# -- what it saves ------------------------------------------------------------------------------


class Counted(Linear):
    """Counts the models that it is applied to, by address of the counter."""

    def forward(self, x):
        MAPS.append(len(x))
        return super().forward(x)

    def jacobian(self, x, basis=None):
        JACOBIANS.append(len(x))
        return super().jacobian(x, basis)


MAPS: list[int] = []
JACOBIANS: list[int] = []


def forty(atoms=200, d=4, m=3):
    """Forty data sets under one operator and one prior."""
    x = Streams(1, "data").at().normal((atoms, d))
    operator: ForwardOperator = Counted(matrix=Streams(2, "data").at().normal((m, d)))
    prior = EmpiricalGMM(bandwidth=0.3).fit(x)
    problem = InverseProblem(prior, operator, GaussianNoise(0.5), torch.zeros(m, dtype=x.dtype))
    return [problem.with_data(y) for y in Streams(3, "data").at().normal((40, m))]


@pytest.mark.parametrize(
    "sampler",
    [FiniteSample(steps=2), FiniteSampleWeights(), ExactLGM(), DDRM(steps=2)],
    ids=lambda s: type(s).__name__,
)
def test_forty_data_sets_cost_one_decomposition_and_one_map_an_atom(sampler, monkeypatch):
    problems, svds = forty(), []
    svd = torch.linalg.svd
    monkeypatch.setattr(
        linear_model.torch.linalg, "svd", lambda *a, **k: svds.append(1) or svd(*a, **k)
    )
    MAPS.clear()
    JACOBIANS.clear()
    draws = [sampler.sample(p, 4, Streams(0, "sampling")).flat for p in problems]
    inside = 1 if JACOBIANS else 0  # a Jacobian comes with the value of F there
    assert len(JACOBIANS) <= 1 and len(svds) <= 1
    assert sum(MAPS) <= 200 + inside
    assert len(svds) == isinstance(sampler, DDRM)
    assert not torch.equal(draws[0], draws[1])
    memory().forget()
    again = sampler.sample(problems[7], 4, Streams(0, "sampling")).flat
    assert torch.equal(again, draws[7])


def test_other_operators_noises_and_atoms_are_not_confused():
    first, *_ = forty()
    y, x = first.y, first.prior.means
    others = [
        first,
        InverseProblem(
            first.prior, Linear(matrix=2 * first.operator.matrix.numpy()), first.noise, y
        ),
        InverseProblem(first.prior, first.operator, GaussianNoise(0.6), y),
        InverseProblem(EmpiricalGMM(bandwidth=0.3).fit(x + 1), first.operator, first.noise, y),
        InverseProblem(EmpiricalGMM(bandwidth=0.2).fit(x), first.operator, first.noise, y),
    ]
    together = [ExactLGM().posterior(p).mean() for p in others]
    for problem, mean in zip(others, together, strict=True):
        memory().forget()
        assert torch.equal(ExactLGM().posterior(problem).mean(), mean)
    assert len({tuple(mean.tolist()) for mean in together}) == 5
