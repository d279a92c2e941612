"""Mixtures of Gaussians: densities, denoisers, marginals."""
