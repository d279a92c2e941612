"""The Helmholtz equation in the plane, from squared slowness to complex data at the receivers.

`grid`, `pml` and `stencils` are the discretisation, `backends` the sparse solvers, `solve` the one
primitive that torch differentiates, `reciprocity` the Jacobian.
"""
