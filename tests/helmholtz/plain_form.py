"""The plain compact scheme, assembled from Kronecker products: a reference of its own.

(K + M W) u = M f is not symmetric and has fourth order without the diagonal E.
"""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu


def plain_data(m, n, spacing, frequency, sources, receivers, cells, damping=250.0):
    """Data (s, r) in a square of n x n nodes for squared slowness m(x, z)."""
    omega, total = 2 * np.pi * frequency, n + 2 * cells
    position = np.arange(total) - cells

    def stretch(q):
        depth = np.maximum(np.maximum(-q, q - (n - 1)), 0) / cells
        return 1 + 1j * damping * depth**2 / omega

    s, half = stretch(position), stretch(position[:-1] + 0.5)
    flux = 1 / (half * spacing**2)
    diagonal = np.zeros(total, complex)
    diagonal[1:] -= flux
    diagonal[:-1] -= flux
    one = sp.eye(total)
    d2 = sp.diags([flux, diagonal, flux], [-1, 0, 1])
    t = sp.diags(
        [np.full(total - 1, 1 / 12), np.full(total, 5 / 6), np.full(total - 1, 1 / 12)], [-1, 0, 1]
    )
    ts = t @ sp.diags(s)
    stiffness = sp.kron(d2, ts) + sp.kron(ts, d2)
    mass = sp.kron(one, one) + sp.kron(t - one, one) + sp.kron(one, t - one)
    node = (np.clip(position, 0, n - 1) + 0.5) * spacing
    w = omega**2 * m(node[:, None], node[None, :]) * np.multiply.outer(s, s)
    matrix = (stiffness + mass @ sp.diags(w.ravel())).tocsc()

    def reading(points):
        rows = [np.outer(*(_lagrange(x / spacing - 0.5 + cells, total) for x in p)) for p in points]
        return np.stack([row.ravel() for row in rows])

    f = mass @ reading(sources).T / spacing**2
    return (reading(receivers) @ splu(matrix).solve(f.astype(complex))).T


def _lagrange(x, total):
    first = int(np.floor(x)) - 3
    nodes = np.arange(first, first + 8)
    weights = np.zeros(total)
    for k in nodes:
        others = nodes[nodes != k]
        weights[k] = np.prod((x - others) / (k - others))
    return weights
