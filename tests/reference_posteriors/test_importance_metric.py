"""What the report says of weighted draws."""

from __future__ import annotations

import math

import pytest
import torch
from reference_problems import line, linear_problem

from mempost.core.result import Result
from mempost.core.sampler import Samples
from mempost.core.streams import Streams
from mempost.plugins.metrics.importance import ImportanceDiagnostics
from mempost.plugins.samplers.exact_lgm import ExactLGM
from mempost.plugins.samplers.importance import Importance
from mempost.plugins.samplers.mala import MALA
from mempost.plugins.samplers.quadrature import Quadrature
from mempost.plugins.samplers.smc import SMC


def result_of(sampler, problem, n=1024, samples=None, point=None) -> Result:
    return Result(
        key="sampler",
        point=point or {},
        sampler=sampler,
        problem=problem,
        data=None,
        truth=None,
        seed=0,
        load_samples=lambda: samples or sampler.sample(problem, n, Streams(0, "sampling")),
    )


def measured(*args, **options) -> Result:
    result = result_of(*args, **options)
    result.measured.update(ImportanceDiagnostics().evaluate(result))
    return result


def columns_of(*args, **options) -> dict[str, float]:
    return ImportanceDiagnostics().evaluate(result_of(*args, **options)).columns


def weighted(log_weight) -> Samples:
    values = torch.zeros(1, len(log_weight), 1, dtype=torch.float64)
    return Samples(values, {"proposal_log_weight": torch.as_tensor(log_weight).double()[None]})


def test_columns_of_given_weights():
    w = torch.tensor([1.0, 2.0, 3.0, 2.0]).double()
    columns = columns_of(Importance(), line(0.5), samples=weighted(w.log()))
    assert columns["ess_share"] == pytest.approx(64 / 18 / 4)
    assert columns["largest_weight"] == pytest.approx(3 / 8)
    assert columns["log_evidence"] == pytest.approx(math.log(2))
    assert columns["proposal_kl"] == pytest.approx(math.log(2) - math.log(12) / 4)
    assert columns["log_evidence_se"] == pytest.approx(float(w.std()) / 2 / 2)
    assert "pareto_k" not in columns


def test_evidence_of_all_methods_agrees():
    problem = line(0.5)
    exact = columns_of(Quadrature(), problem)
    assert exact == {
        "log_evidence": pytest.approx(math.log(0.16852 / 0.3 / math.sqrt(2 * math.pi)), abs=1e-4)
    }
    for sampler in (Importance(), SMC(particles=256)):
        columns = columns_of(sampler, problem, n=2048)
        error = columns["log_evidence"] - exact["log_evidence"]
        assert 0 < columns["log_evidence_se"] < 0.1
        assert abs(error) < 4 * columns["log_evidence_se"]


def test_columns_of_populations():
    """Evidences averaged over populations, cut ones included; prior draws that survive."""
    stats = {
        "log_evidence": torch.tensor([1.0, 1.0, 1.0, 2.0, 2.0]).double(),
        "population": torch.tensor([0, 0, 0, 1, 1]),
        "origin": torch.tensor([7, 7, 3, 7, 7]),
    }
    samples = Samples(torch.zeros(1, 5, 1), {k: v[None] for k, v in stats.items()})
    columns = columns_of(SMC(), line(0.5), samples=samples)
    z = torch.tensor([1.0, 2.0]).double().exp()
    assert columns["log_evidence"] == pytest.approx(float(z.mean().log()))
    assert columns["log_evidence_se"] == pytest.approx(float(z.std() / z.mean()) / math.sqrt(2))
    assert columns["surviving_share"] == pytest.approx(3 / 5)
    single = Samples(samples.values[:, :3], {k: v[:, :3] for k, v in samples.stats.items()})
    assert "log_evidence_se" not in columns_of(SMC(), line(0.5), samples=single)


@pytest.mark.parametrize(
    ("log_weight", "said"),
    [
        (torch.zeros(1000), "worth 100.0% of their number."),
        (torch.linspace(0, 1, 1000), "and their tail is light"),
        (-0.75 * torch.linspace(1, 0.0005, 1000).log(), "and their tail is heavy"),
        (40.0 * torch.linspace(0, 1, 1000) ** 8, "misses the posterior, by 29.9 nats or more"),
    ],
)
def test_the_verdict_in_words(log_weight, said):
    point = {"prior.bandwidth": 0.3}
    result = measured(Importance(), line(0.5), samples=weighted(log_weight), point=point)
    (sentence,) = ImportanceDiagnostics().verdict([result])
    assert sentence.startswith("bandwidth = 0.3: the draws of sampler are worth")
    assert said in sentence, sentence


def test_nothing_to_say_of_other_samplers_and_of_calibration():
    problem = linear_problem(d=1, atoms=1)
    chains = measured(MALA(warmup=2, draws=4, thin=1), problem, n=32)
    assert chains.measured == {}
    assert ImportanceDiagnostics().verdict([chains]) == []
    many = weighted(torch.zeros(8))
    many = Samples(many.values, many.stats, torch.zeros(1, 1, dtype=torch.float64))
    assert columns_of(Importance(), problem, samples=many) == {}
    closed = measured(ExactLGM(), problem)
    assert set(closed.measured) == {"log_evidence"}
