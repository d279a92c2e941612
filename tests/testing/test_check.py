"""The mechanics: generators, reports, expected failures, the decorator, plugins by name."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pydantic import Field

from mempost.core.arrays import FrozenArray, Vector
from mempost.core.errors import SpecError
from mempost.core.operator import ForwardOperator
from mempost.core.registry import REGISTRIES
from mempost.core.streams import TILE, Streams
from mempost.testing import (
    CheckFailedError,
    ConformanceError,
    check_operator,
    check_plugin,
    checks_for,
    operator_checks,
    parametrize_with_checks,
    plugin_named,
)
from mempost.testing.comparison import require_distribution, require_means
from mempost.testing.conformance import CATALOGUES
from mempost.testing.randomness import NeighboursChanged, RowsPermuted, twice_under_global_seeds
from mempost.testing.reference import CubicOperator


class Shift(ForwardOperator):
    """Adds a vector; says wrongly that its data are complex."""

    tags = frozenset({"linear", "complex"})
    vector: Vector = Field(examples=[[0.5, 1.0]])

    @property
    def domain_shape(self):
        return self.vector.shape

    def forward(self, x):
        return x + self.vector.tensor(x.dtype, x.device)


@pytest.fixture
def shift():
    REGISTRIES["operator"].register("shift", Shift)
    yield Shift(vector=FrozenArray([0.5, 1.0]))
    del REGISTRIES["operator"]._local["shift"]


WRONG = {"complex_tag": "known", "dtype_kept": "likewise"}


def test_generators_run_nothing_and_name_every_check_once():
    checks = list(operator_checks(CubicOperator()))
    names = [check.name for check in checks]
    assert len(names) == len(set(names))
    assert "superposition" not in names
    for check in checks:
        assert check.meaning.endswith(".") and "\n" not in check.meaning


def test_every_check_says_in_one_sentence_what_its_failure_means():
    for catalogue in CATALOGUES.values():
        for entry in catalogue.entries:
            assert entry.meaning.count(". ") == 0 and entry.meaning.endswith("."), entry.name
            assert 20 < len(entry.meaning) < 140, entry.name


def test_a_report_names_what_failed_and_why(shift):
    with pytest.raises(ConformanceError) as caught:
        check_operator(shift)
    assert caught.value.report.failed == ["dtype_kept", "complex_tag"]
    assert "Data are complex: False, declared: True." in str(caught.value)
    assert "14 passed, 2 failed" in str(caught.value)


def test_expected_failures_are_reported_as_such(shift):
    report = check_operator(shift, expected_failed_checks=WRONG)
    status = {outcome.name: outcome.status for outcome in report.outcomes}
    assert status["complex_tag"] == "failed as expected"
    assert report.ok


def test_a_check_that_passes_against_expectation_is_reported(shift):
    with pytest.raises(
        ConformanceError, match="passed unexpectedly  dot_test: no reason"
    ) as caught:
        check_operator(shift, expected_failed_checks={**WRONG, "dot_test": "no reason"})
    assert caught.value.report.failed == ["dot_test"]


def test_an_unknown_expected_check_is_refused_with_the_nearest_name(shift):
    with pytest.raises(SpecError, match=r"'dot_tset' is not a check of Shift.*'dot_test'"):
        list(operator_checks(shift, expected_failed_checks={"dot_tset": "?"}))


def test_an_error_inside_a_plugin_is_a_failure_with_its_place():
    class Broken(CubicOperator):
        """Breaks."""

        def forward(self, x):
            raise ZeroDivisionError("one over zero")

    outcomes = {check.name: check.outcome() for check in checks_for(Broken())}
    assert outcomes["shapes"].status == "failed"
    assert "ZeroDivisionError: one over zero (" in outcomes["shapes"].reason
    assert "test_check.py:" in outcomes["shapes"].reason
    with pytest.raises(ZeroDivisionError) as caught:
        {check.name: check for check in checks_for(Broken())}["shapes"]()
    assert caught.value.__notes__[0].startswith("shapes: `range_shape` and the values")


def test_plugins_are_built_from_their_examples_by_name(shift):
    assert plugin_named("operator:shift") == shift
    assert plugin_named("shift", {"vector": [1.0]}) == Shift(vector=FrozenArray([1.0]))
    outcomes = check_plugin("operator", "shift")
    assert [o.name for o in outcomes if not o.ok] == ["dtype_kept", "complex_tag"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("operator:shfit", "no operator is named 'shfit'. Did you mean 'shift'"),
        ("opreator:shift", "no kind of plugin is named 'opreator'; .* Did you mean 'operator'"),
        ("gaussian", "'gaussian' names several plugins: prior:gaussian, dataset:gaussian"),
        ("nothing_like_it", "no plugin is named 'nothing_like_it'"),
        ("dataset:file", "File.path is required and shows no example"),
    ],
)
def test_names_that_do_not_lead_to_a_plugin(shift, name, message):
    with pytest.raises(SpecError, match=message):
        plugin_named(name)


def test_wrong_hyper_parameters_are_named():
    with pytest.raises(SpecError, match=r"Blur\.width: Input should be greater than 0"):
        plugin_named("operator:blur", {"width": -1})


def parameters(decorate: Callable) -> list:
    def test(check):
        check()

    return decorate(test).pytestmark[0].args[1]


def test_the_decorator_makes_one_test_of_each_check(shift):
    found = parameters(parametrize_with_checks(["operator:shift"], expected_failed_checks=WRONG))
    marked = {p.id: p.marks[0].kwargs for p in found if p.marks}
    assert len(found) == len(list(operator_checks(shift)))
    assert marked == {
        "Shift-complex_tag": {"reason": "known", "strict": True},
        "Shift-dtype_kept": {"reason": "likewise", "strict": True},
    }


def test_the_decorator_takes_checks_and_a_function_of_the_plugin(shift):
    own = operator_checks(CubicOperator(), shape=(3, 4))
    expected = lambda plugin: WRONG if isinstance(plugin, Shift) else {}  # noqa: E731
    found = parameters(parametrize_with_checks([shift, *own], expected_failed_checks=expected))
    assert sum(bool(p.marks) for p in found) == 2
    assert {p.id.partition("-")[0] for p in found} == {"Shift", "CubicOperator"}


@parametrize_with_checks([CubicOperator()])
def test_the_decorator_runs(check):
    check()


# -- the tools that checks are made of ----------------------------------------------------------


def test_global_generators_are_put_back():
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    assert twice_under_global_seeds(lambda: 3) == (3, 3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert random.getstate() == before[2]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.rand(1),
        lambda: np.random.rand(),  # noqa: NPY002
        lambda: torch.manual_seed(7),
    ],
)
def test_use_of_a_global_generator_is_noticed(draw):
    with pytest.raises(CheckFailedError, match="The global generator of"):
        twice_under_global_seeds(draw)


@pytest.mark.parametrize("shape", [(TILE, 2), (3, TILE), (4 * TILE, 2)])
def test_streams_by_row_keep_and_permute_what_belongs_to_a_sample(shape):
    usual = Streams(0, "noise").at(2, 3).normal(shape)
    keep, order = (0, 5), tuple(reversed(range(TILE)))
    changed = NeighboursChanged(0, "noise", keep=keep).at(2, 3).normal(shape)
    permuted = RowsPermuted(0, "noise", order=order).at(2, 3).normal(shape)
    axis = 1 if shape[1] == TILE else 0

    def by_sample(x):
        return x.movedim(axis, 0).unflatten(0, (TILE, -1))

    same = (by_sample(changed) == by_sample(usual)).flatten(1).all(1)
    assert same.nonzero().flatten().tolist() == list(keep)
    assert torch.equal(by_sample(permuted), by_sample(usual).flip(0))


@pytest.mark.parametrize("seed", range(20))
def test_comparisons_pass_for_the_right_distribution_and_fail_for_a_wrong_one(seed):
    x = Streams(seed, "noise").at().normal((1024, 3))
    names = [f"coordinate {i}" for i in range(3)]
    squares = x.square()
    require_distribution(torch.special.ndtr(x), "normal")
    require_means(squares, torch.ones(3), names, "normal")
    with pytest.raises(CheckFailedError, match="off by"):
        require_distribution(torch.special.ndtr(x + 0.4), "shifted")
    with pytest.raises(CheckFailedError, match="standard errors apart"):
        require_means(squares, 1.5 * torch.ones(3), names, "wider")
