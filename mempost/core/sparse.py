"""Sparse symmetric matrices in a spec: the entries that are not zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import model_validator

from mempost.core.arrays import ComplexVector, Vector
from mempost.core.plugin import Recipe

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class SparseMatrix(Recipe):
    """Entries ``values`` at ``rows`` and ``columns`` (from 0) of a Hermitian matrix.

    Those of one triangle, with the diagonal, or of both. Arrays may come from a file, such as one
    that SciPy's ``save_npz`` wrote of a matrix in the format coo (keys row, col and data).
    """

    rows: Vector
    columns: Vector
    values: ComplexVector

    @model_validator(mode="after")
    def _is_hermitian(self) -> Self:
        lengths = len(self.rows), len(self.columns), len(self.values)
        if len(set(lengths)) > 1:
            raise ValueError("rows, columns and values have {}, {} and {} numbers".format(*lengths))
        places = np.stack([self.rows.numpy(), self.columns.numpy()])
        if (places < 0).any() or (places != places.round()).any():
            raise ValueError("rows and columns should be numbers of data, from 0")
        if len(np.unique(places, axis=1).T) < lengths[0]:
            raise ValueError("an entry stands twice")
        matrix = self.matrix
        if abs(matrix - matrix.conj().T).max() > 1e-10 * abs(matrix).max():
            raise ValueError("the two triangles are not the conjugates of one another")
        return self

    @property
    def matrix(self) -> csr_array:
        """The matrix, both of its triangles."""
        from scipy.sparse import coo_array  # here, so that listing plugins stays fast

        rows, columns = (x.numpy().astype(int) for x in (self.rows, self.columns))
        m = int(max(rows.max(), columns.max())) + 1
        given = coo_array((self.values.numpy(), (rows, columns)), shape=(m, m)).tocsr()
        if (rows < columns).any() and (rows > columns).any():
            return given
        diagonal = coo_array((given.diagonal(), (np.arange(m), np.arange(m))), shape=(m, m))
        return given + given.conj().T - diagonal.tocsr()
