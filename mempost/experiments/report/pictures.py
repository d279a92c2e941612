"""Saving figures as PNG and PDF, the same bytes for the same picture."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mempost.core.figure import Picture
from mempost.experiments.store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

DPI = 150


def png_bytes(canvas: Canvas) -> bytes:
    """A figure as PNG, without date or software version."""
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def write_figures(store: Store, pictures: Mapping[str, Picture]) -> None:
    """Write ``figures/<name>.png`` and ``.pdf``."""
    for name, picture in pictures.items():
        canvas = picture.canvas
        store.write(store.path("figures", f"{name}.png"), png_bytes(canvas))
        buffer = io.BytesIO()
        canvas.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Producer": None})
        store.write(store.path("figures", f"{name}.pdf"), buffer.getvalue())
