"""Denoising score matching: networks, parametrisations, noise levels, training."""
