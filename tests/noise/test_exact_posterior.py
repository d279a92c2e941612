"""`exact_lgm` under noise of every covariance is dense algebra, to 1e-10."""

import numpy as np
import pytest
import torch
from noise_problems import covariance, dense, linear_problem, numbers
from scipy.sparse import block_diag

from mempost.core.gaussian_noise import GaussianNoise
from mempost.core.operator import ForwardOperator
from mempost.core.problem import InverseProblem
from mempost.plugins.noises.gaussian import Gaussian
from mempost.plugins.samplers.exact_lgm import ExactLGM

STDS = np.array([0.1, 1.0, 0.4, 2.0, 0.3])


def close(found, expected):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-10, atol=1e-10)


def recipes(complex_data):
    """Ways to say a covariance, each with the covariance itself; 5 data."""
    C = covariance(5, complex_data)
    L = np.linalg.cholesky(C)
    wide = np.concatenate([L, 0 * L[:, :2]], 1) @ np.linalg.qr(numbers(9, 7, 7))[0]
    blocks = block_diag([covariance(3, complex_data), [[0.25]], [[1.44]]]).tocoo()
    entries = {"rows": blocks.row, "columns": blocks.col, "values": blocks.data}
    return {
        "std": (Gaussian(std=STDS), np.diag(STDS**2)),
        "covariance": (Gaussian(covariance=C), C),
        "triangular factor": (Gaussian(factor=L), C),
        "wide factor": (Gaussian(factor=wide), C),
        "blocks": (Gaussian(covariance=blocks.toarray()), blocks.toarray()),
        "entries": (Gaussian(covariance_entries=entries), blocks.toarray()),
        "one std": (Gaussian(std=0.3), 0.09 * np.eye(5)),
    }


@pytest.mark.parametrize("missing", [(), (3,), (0, 1, 4)], ids=str)
@pytest.mark.parametrize("complex_data", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("name", recipes(False))
def test_linear_problems_are_dense_algebra(name, complex_data, missing):
    recipe, C = recipes(complex_data)[name]
    problem = linear_problem(C, 5, complex_data, missing, recipe)
    found = ExactLGM().posterior(problem)
    weights, means, covariances, log_z = dense(C, 5, complex_data, missing)
    close(found.weights, weights)
    close(found.component_means, means)
    close(found.component_covariances(torch.arange(3)), covariances)
    close(found.log_evidence, log_z)
    assert problem.data_dimension == (5 - len(missing)) * (2 if complex_data else 1)


def test_the_likelihood_is_normalised_and_that_of_the_data_that_are_there():
    for complex_data in (False, True):
        C = covariance(4, complex_data)
        problem = linear_problem(C, 4, complex_data, (2,))
        kept = np.ix_([0, 1, 3], [0, 1, 3])
        x = torch.from_numpy(numbers(4, 6, 3))
        r = problem.residual(x).numpy()[:, [0, 1, 3]]
        quadratic = np.einsum("bi,ij,bj->b", r.conj(), np.linalg.inv(C[kept]), r).real
        log_det = np.linalg.slogdet(C[kept])[1]
        if complex_data:  # the density of a circular complex Gaussian
            expected = -quadratic - log_det - 3 * np.log(np.pi)
        else:
            expected = -0.5 * (quadratic + log_det + 3 * np.log(2 * np.pi))
        close(problem.log_likelihood(x), expected)
        value, gradient = problem.log_likelihood_gradient(x)
        close(value, expected)
        close(problem.likelihood_ascent(x)[1], gradient)
        r_white, A = problem.linearise(x)
        close((A.mT @ r_white[..., None])[..., 0], gradient)


class Bend(ForwardOperator):
    """m data sin(x_0) + k x_1^2 + x_2, and its like whitened by hand."""

    tall: bool = False
    whitener: tuple[tuple[float, ...], ...] | None = None

    @property
    def m(self):
        return 5 if self.tall else 2

    def range_shape(self, domain_shape):
        return (self.m if self.whitener is None else len(self.whitener),)

    def forward(self, x):
        k = torch.arange(self.m, dtype=x.dtype)
        f = torch.sin(x[:, :1]) + 0.1 * k * x[:, 1:2] ** 2 + x[:, 2:] + k * x[:, :1]
        return f if self.whitener is None else f @ torch.tensor(self.whitener, dtype=x.dtype).T


@pytest.mark.parametrize("relinearise", [None, "map"])
@pytest.mark.parametrize(("tall", "missing"), [(True, 3), (False, 1)], ids=["m >= d", "m < d"])
def test_nonlinear_problems_are_those_whitened_by_hand(tall, missing, relinearise):
    operator = Bend(tall=tall)
    C, y = covariance(operator.m), torch.from_numpy(numbers(5, operator.m))
    gone = torch.arange(operator.m) == missing
    problem = linear_problem(C, operator.m)
    problem = InverseProblem(
        problem.prior, operator, Gaussian(covariance=C).resolve(y).without(gone), y
    )
    kept = np.flatnonzero(~gone.numpy())
    W = np.zeros((len(kept), operator.m))
    W[:, kept] = np.linalg.inv(np.linalg.cholesky(C[np.ix_(kept, kept)]))
    by_hand = InverseProblem(
        problem.prior,
        Bend(tall=tall, whitener=tuple(map(tuple, W))),
        GaussianNoise(1.0),
        torch.from_numpy(W @ y.numpy()),
    )
    sampler = ExactLGM(relinearise=relinearise)
    found, expected = sampler.posterior(problem), sampler.posterior(by_hand)
    close(found.weights, expected.weights)
    close(found.component_means, expected.component_means)
    close(found.covariance(), expected.covariance())
    jacobian = np.log(np.abs(np.linalg.det(W[:, kept])))  # the density of W y is another one
    close(found.log_evidence, expected.log_evidence + jacobian)


def test_a_vector_of_one_number_is_that_number_to_the_bit():
    x = torch.from_numpy(numbers(4, 6, 3))
    one = linear_problem(None, 5, recipe=Gaussian(std=0.3))
    many = linear_problem(None, 5, recipe=Gaussian(std=[0.3] * 5))
    assert torch.equal(one.whitened_residual(x), many.whitened_residual(x))
    assert torch.equal(one.log_likelihood(x), many.log_likelihood(x))


def test_noise_that_grows_without_bound_is_a_missing_datum():
    far = linear_problem(None, 5, recipe=Gaussian(std=[0.1, 1.0, 0.4, 1e9, 0.3]))
    gone = linear_problem(None, 5, missing=(3,), recipe=Gaussian(std=STDS))
    assert far.noise.std == gone.noise.std == 0.1
    found, expected = (ExactLGM().posterior(problem) for problem in (far, gone))
    close(found.weights, expected.weights)
    close(found.component_means, expected.component_means)


def test_a_large_sparse_covariance_costs_what_its_blocks_do():
    n = 4000  # pairs of data; as a dense matrix half a gigabyte
    k = np.arange(n)
    rows = np.concatenate([2 * k, 2 * k + 1, 2 * k + 1])
    columns = np.concatenate([2 * k, 2 * k + 1, 2 * k])
    values = np.concatenate([np.full(n, 1.0), np.full(n, 2.0), np.full(n, 0.5)])
    entries = {"rows": rows, "columns": columns, "values": values}
    f = torch.zeros(2 * n, dtype=torch.float64)
    law = Gaussian(covariance_entries=entries).resolve(f)
    y = torch.from_numpy(numbers(0, 2 * n))
    C = np.array([[1.0, 0.5], [0.5, 2.0]])
    pairs = y.numpy().reshape(-1, 2)
    quadratic = np.einsum("ni,ij,nj->", pairs, np.linalg.inv(C), pairs)
    expected = -0.5 * (quadratic + n * np.log(np.linalg.det(2 * np.pi * C)))
    assert float(law.log_density(y, f)) == pytest.approx(expected, rel=1e-12)
