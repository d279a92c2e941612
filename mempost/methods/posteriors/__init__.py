"""Posteriors in closed form, and the linear algebra that they stand on."""
