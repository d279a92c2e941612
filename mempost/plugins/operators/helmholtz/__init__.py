"""The Helmholtz operator: squared slowness to complex data at the receivers.

`operator` holds the plugin, `grid`, `pml` and `stencils` the discretisation, `backends` the sparse
solvers, `solve` the one primitive that torch differentiates, `reciprocity` the Jacobian.
"""
