"""How far weighted draws can be trusted: importance sampling and sequential Monte Carlo.

Of S draws of a proposal with weights w_i, by `mempost.methods.chains.weights` and `pareto`,

    ess_share        (sum w)^2 / (S sum w^2)
    largest_weight   max w / sum w
    pareto_k         shape of the tail of the weights
    log_evidence     log of the mean weight, an estimate of log p(y)
    proposal_kl      log of the mean weight - mean of log w, an estimate of KL(q || p) in nats

A population of sequential Monte Carlo gives one estimate Z_j of p(y). Their mean is the estimate
from all, and its error comes from their spread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mempost.core.capabilities import HasEvidence, ask
from mempost.core.measured import Measured
from mempost.core.metric import Metric
from mempost.core.result import Result
from mempost.methods.bibliography import VEHTARI_2024_PARETO, ZHANG_2009_EFFICIENT
from mempost.methods.chains.weights import effective_sample_size, log_mean
from mempost.methods.statistics.pareto import dependable_shape, pareto_shape

DRAWS = "weighted_draws"
"""Number of draws, for the verdict."""


class ImportanceDiagnostics(Metric):
    """Effective sample size, largest weight, tail of the weights, and the log evidence.

    Columns ``ess_share``, ``largest_weight``, ``pareto_k`` and ``proposal_kl`` of `Importance`;
    ``surviving_share`` (of the draws of the prior, those that have descendants) of `SMC`;
    ``log_evidence`` and ``log_evidence_se`` of both, and ``log_evidence`` of samplers that know it
    in closed form.
    """

    publications = (VEHTARI_2024_PARETO, ZHANG_2009_EFFICIENT)

    def evaluate(self, result: Result) -> Measured:
        if (exact := ask(result.posterior, HasEvidence)) is not None:
            return Measured({"log_evidence": float(exact.log_evidence)})
        if result.samples.truths is not None:  # of a calibration run, every chain has other data
            return Measured()
        stats = result.samples.stats
        if "proposal_log_weight" in stats:
            return _of_weights(stats["proposal_log_weight"].flatten())
        if {"log_evidence", "population", "origin"} <= stats.keys():
            return _of_populations(stats)
        return Measured()

    def verdict(self, results: Sequence[Result]) -> list[str]:
        return [said for result in results if (said := _sentence(result)) is not None]


def _of_weights(log_weights: Tensor) -> Measured:
    value, error = log_mean(log_weights)
    found = {
        "ess_share": effective_sample_size(log_weights) / len(log_weights),
        "largest_weight": float(log_weights.double().softmax(0).max()),
        "pareto_k": pareto_shape(log_weights),
        "proposal_kl": max(0.0, value - float(log_weights.double().mean())),
        "log_evidence": value,
        "log_evidence_se": error,
        DRAWS: len(log_weights),
    }
    known = {name: value for name, value in found.items() if not math.isnan(value)}
    return Measured(known, unlisted=[DRAWS])


def _of_populations(stats: dict[str, Tensor]) -> Measured:
    population = stats["population"].flatten()
    last = [torch.nonzero(population == j)[-1, 0] for j in population.unique()]
    value, error = log_mean(stats["log_evidence"].flatten()[torch.stack(last)])
    pairs = torch.stack([population, stats["origin"].flatten()], -1).unique(dim=0)
    found = {
        "log_evidence": value,
        "log_evidence_se": error,
        "surviving_share": len(pairs) / len(population),
    }
    return Measured({name: value for name, value in found.items() if not math.isnan(value)})


def _sentence(result: Result) -> str | None:
    """What the weights say of one run."""
    found = {
        name: float(result.measured[name])
        for name in ("ess_share", "pareto_k", "proposal_kl", DRAWS)
        if name in result.measured
    }
    if "ess_share" not in found:
        return None
    where = ", ".join(f"{path.rpartition('.')[2]} = {v}" for path, v in result.point.items())
    size = int(found[DRAWS])
    count, k = found["ess_share"] * size, found.get("pareto_k")
    shown = f"the draws of {result.key} are worth {found['ess_share']:.1%} of their number"
    limit = dependable_shape(size)
    if count < 20:
        judged = (
            f"that is {count:.0f}: its proposal misses the posterior, by "
            f"{found['proposal_kl']:.1f} nats or more"
        )
    elif k is not None and k > limit:
        judged = f"and their tail is heavy (k = {k:.2f}, above {limit:.2f}): not to be relied on"
    else:
        judged = "" if k is None else f"and their tail is light (k = {k:.2f})"
    return f"{where + ': ' if where else ''}{shown}{', ' + judged if judged else ''}."
