"""Regularised scores: how strong a penalty is at a noise level, and draws along a flow."""
