"""Every test starts with nothing remembered."""

import pytest

from mempost.plugins.samplers import linearisation_store, map_points


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    linearisation_store._last.clear()
    map_points._remembered.clear()
