"""Array shapes in annotations, checked at run time in the first calls of a function within a test.

The calls of an iteration have the shapes of the first ones; checking them all took a third of the
time of samplers.
"""

import functools
from collections import Counter
from types import FunctionType

import jaxtyping

CHECKED = ("noise", "problem", "posterior", "operator", "sampler")
"""Core modules whose annotations are checked (beartype cannot follow `typing.Self` in others)."""
made = Counter()
"""Calls of each function in the running test."""


def check_shapes(calls):
    """Check the first ``calls`` calls of each function of modules that are imported from now on."""
    jaxtyped = jaxtyping.jaxtyped

    def of_first_calls(**options):
        def decorate(function):
            checked = jaxtyped(**options)(function)
            if not isinstance(function, FunctionType):
                return checked

            @functools.wraps(function)
            def call(*arguments, **named):
                made[call] += 1
                return (checked if made[call] <= calls else function)(*arguments, **named)

            return call

        return decorate

    jaxtyping.jaxtyped = of_first_calls
    jaxtyping.install_import_hook([f"mempost.core.{name}" for name in CHECKED], "beartype.beartype")
