"""Array shapes in annotations are checked at run time; hypothesis draws the same examples."""

import os

import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

CHECKED = ("noise", "problem", "posterior", "operator", "sampler")
"""Core modules whose annotations are checked (beartype cannot follow `typing.Self` in others)."""

if os.environ.get("MEMPOST_CHECK_SHAPES", "1") == "1":
    install_import_hook([f"mempost.core.{name}" for name in CHECKED], "beartype.beartype")

settings.register_profile(
    "mempost", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mempost")


@pytest.fixture(autouse=True)
def _nothing_remembered():
    """What is counted in a test does not depend on the tests before it."""
    from mempost.core.memory import memory

    memory().forget()
