"""Array shapes are checked at run time; hypothesis draws the same examples."""

import gc
import importlib
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from shape_checks import check_shapes, made

if calls := int(os.environ.get("MEMPOST_CHECK_SHAPES", "20")):
    check_shapes(calls)

gc.set_threshold(10_000, 20, 20)  # going through what stays took a tenth of the time

settings.register_profile(
    "mempost", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mempost")


@pytest.fixture(autouse=True)
def _nothing_remembered():
    """What is counted in a test does not depend on the tests before it."""
    from mempost.core.memory import memory

    memory().forget()
    made.clear()


def _as_in_a_new_process(folders):
    """Nothing is remembered, and plugins are looked for and imported anew."""
    from mempost.core.memory import memory
    from mempost.core.registry import REGISTRIES

    memory().forget()
    importlib.invalidate_caches()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is not None and any(Path(file).is_relative_to(folder) for folder in folders):
            del sys.modules[name]
    for registry in REGISTRIES.values():
        vars(registry).pop("candidates", None)
        registry._loaded.clear()


@pytest.fixture
def seeing():
    """``with seeing(folder):`` the packages in a folder are found with their plugins."""

    @contextmanager
    def context(*folders):
        with pytest.MonkeyPatch.context() as patch:
            for folder in folders:
                patch.syspath_prepend(folder)
            _as_in_a_new_process(folders)
            yield
        _as_in_a_new_process(folders)

    return context
