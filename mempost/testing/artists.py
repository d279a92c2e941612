"""The numbers in a picture: what its lines, bars, areas and images stand for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mempost.core.figure import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def drawn_numbers(canvas: Canvas) -> list[np.ndarray]:
    """Data of all artists in the axes of a figure, in the order in which they were added."""
    return [
        np.asarray(np.ma.filled(np.ma.asarray(values, dtype=float), np.nan), dtype=float)
        for axes in canvas.axes
        for artist in axes.get_children()
        for values in _data(artist)
    ]


def drawn_words(canvas: Canvas) -> list[str]:
    """All texts of a figure: titles, labels, legends, notes, names of ticks."""
    return [text for text in _texts(canvas) if text]


def drawn_in(picture: Picture) -> tuple[list[bytes], list[str]]:
    """Numbers and words of a picture, captions included, to be compared."""
    numbers = [n.tobytes() for n in drawn_numbers(picture.canvas)]
    return numbers, [*drawn_words(picture.canvas), picture.caption, picture.alt]


def _texts(artist: Any) -> Iterator[str]:
    from matplotlib.axis import Axis
    from matplotlib.text import Text

    for child in artist.get_children():
        if isinstance(child, Text):
            yield child.get_text()
        elif isinstance(child, Axis):
            yield child.get_label_text()
            # ticks that were given names are there; all others would be made by asking for them
            yield from (tick.label1.get_text() for tick in vars(child).get("majorTicks", ()))
        else:
            yield from _texts(child)


def _data(artist: Any) -> Iterator[Any]:
    from matplotlib.collections import Collection
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle, StepPatch

    if isinstance(artist, Line2D):
        yield artist.get_xydata()
    elif isinstance(artist, StepPatch):
        yield artist.get_data()[0]
    elif isinstance(artist, Rectangle):
        yield [artist.get_x(), artist.get_y(), artist.get_width(), artist.get_height()]
    elif isinstance(artist, AxesImage):
        yield artist.get_array()
    elif isinstance(artist, Collection):
        if artist.get_array() is not None:
            yield artist.get_array()
        yield from (path.vertices for path in artist.get_paths())
        yield artist.get_offsets()
