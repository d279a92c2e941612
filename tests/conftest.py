"""Shared settings: array shapes in annotations are checked at run time, hypothesis is derandomised."""

import os

from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

if os.environ.get("MEMPOST_CHECK_SHAPES", "1") == "1":
    install_import_hook(["mempost.core.prior", "mempost.core.noise"], "beartype.beartype")

settings.register_profile(
    "mempost", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mempost")
