"""Hand-made results are those of the tests of plugins."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "plugins"))
