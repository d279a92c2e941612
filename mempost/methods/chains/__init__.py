"""Markov chains, populations of particles, and their weights."""
