"""Problems with noise that is not one number, and the same ones by dense algebra in NumPy."""

import numpy as np
import torch

from mempost.core.problem import InverseProblem
from mempost.plugins.noises.gaussian import Gaussian
from mempost.plugins.operators.linear import Linear
from mempost.plugins.priors.gaussian_mixture import GaussianMixture

WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([[-0.9, 0.2, 0.4], [0.7, 0.9, -0.3], [0.4, -0.8, 0.1]])
COVARIANCES = np.array(
    [
        [[0.5, 0.1, 0.0], [0.1, 0.6, 0.2], [0.0, 0.2, 0.4]],
        [[1.0, -0.4, 0.3], [-0.4, 0.7, 0.0], [0.3, 0.0, 0.9]],
        [[0.2, 0.0, 0.1], [0.0, 0.3, 0.0], [0.1, 0.0, 0.25]],
    ]
)


def numbers(seed, *shape, complex_data=False):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return x + 1j * rng.normal(size=shape) if complex_data else x


def covariance(m, complex_data=False):
    """Well away from diagonal, with standard deviations from 0.2 to 2 or so."""
    A = numbers(7, m, m, complex_data=complex_data)
    scale = np.geomspace(0.2, 2.0, m)
    C = A @ A.conj().T / m + 0.3 * np.eye(m)
    return scale[:, None] * C * scale


def mixture():
    prior = GaussianMixture(
        weights=WEIGHTS.tolist(), means=MEANS.tolist(), covariances=COVARIANCES.tolist()
    )
    return prior.fit(None)


def linear_problem(C, m, complex_data=False, missing=(), recipe=None, prior=None):
    """A linear problem of m data under noise of the covariance C, some data missing."""
    G, c = numbers(1, m, 3, complex_data=complex_data), numbers(2, m, complex_data=complex_data)
    y = torch.from_numpy(numbers(3, m, complex_data=complex_data))
    recipe = recipe or Gaussian(covariance=C)
    law = recipe.resolve(y)
    if missing:
        gone = torch.zeros(m, dtype=torch.bool)
        gone[list(missing)] = True
        law, y = law.without(gone), torch.where(gone, torch.nan, y)
    return InverseProblem(prior or mixture(), Linear(matrix=G, offset=c), law, y)


def real_parts(M, complex_data):
    """Complex rows as pairs of real ones."""
    return np.stack([M.real, M.imag], 1).reshape(-1, *M.shape[1:]) if complex_data else M


def real_covariance(C, complex_data):
    """Covariance of (re, im, re, ...) of circular noise with E[n n^H] = C."""
    if not complex_data:
        return C
    blocks = np.array([[C.real, -C.imag], [C.imag, C.real]]) / 2  # (2, 2, m, m)
    m = len(C)
    return blocks.transpose(2, 0, 3, 1).reshape(2 * m, 2 * m)


def dense(C, m, complex_data=False, missing=()):
    """Weights, means, covariances and log evidence of the posterior, all by m x m matrices."""
    kept = [i for i in range(m) if i not in missing]
    G, c = numbers(1, m, 3, complex_data=complex_data), numbers(2, m, complex_data=complex_data)
    y = numbers(3, m, complex_data=complex_data)
    G, r = real_parts(G[kept], complex_data), real_parts((y - c)[kept], complex_data)
    S = real_covariance(np.asarray(C)[np.ix_(kept, kept)], complex_data)
    log_w, means, covariances = [], [], []
    for w, mean, P in zip(WEIGHTS, MEANS, COVARIANCES):
        K = G @ P @ G.T + S
        gain = P @ G.T @ np.linalg.inv(K)
        e = r - G @ mean
        _, log_det = np.linalg.slogdet(2 * np.pi * K)
        log_w.append(np.log(w) - 0.5 * e @ np.linalg.solve(K, e) - 0.5 * log_det)
        means.append(mean + gain @ e)
        covariances.append(P - gain @ G @ P)
    log_w = np.array(log_w)
    log_z = np.logaddexp.reduce(log_w)
    return np.exp(log_w - log_z), np.array(means), np.array(covariances), log_z
