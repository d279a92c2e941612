"""Ralston's method in tau = -log(s/a), where the flow is du/dtau = m - u."""

import math

from mempost import FixedSolver, NoiseLevel


class Ralston(FixedSolver):
    """A Runge-Kutta step of second order with the least error bound."""

    def step(self, denoise, z, step, stream):
        sigma, end = (level.s / level.a for level in (step.level, step.next_level))
        u, h = z / step.level.a, math.log(sigma / end)

        def slope(u, tau):
            return denoise(u, NoiseLevel(1.0, sigma * math.exp(-tau))) - u

        first = slope(u, 0.0)
        second = slope(u + 2 * h / 3 * first, 2 * h / 3)
        return step.next_level.a * (u + h * (first + 3 * second) / 4)

    def calls(self, step):
        return 2
