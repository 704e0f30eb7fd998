"""Entries of a tag file, whatever its format."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from affinitynet.data.names import normal_form
from affinitynet.data.shapes import Encode, Shape

Mark = tuple[str, Encode | None]
"""Label of something in a photo, and its shape if that is known."""


@dataclass(frozen=True)
class Row:
    """Entry of one photo.

    Attributes:
        place: Place in the file, `line 3`.
        file: The photo's file, relative to the folder.
        tags: Names of what it shows.
        split: Its split's name; empty where it is to be drawn.
        width: Of the photo, in pixels; 0 if the file does not say.
        height: In pixels.
        shapes: Outlines of what it shows.
    """

    place: str
    file: str
    tags: list[str]
    split: str = ""
    width: int = 0
    height: int = 0
    shapes: tuple[Shape, ...] = ()


def make_row(
    place: str, file: str, marks: Iterable[Mark], split: str = "", width: int = 0, height: int = 0
) -> Row:
    """Make the entry of a photo that shows marks."""
    marks = [*marks]
    shapes = tuple(Shape(normal_form(label), encode) for label, encode in marks if encode)
    return Row(place, file, [label for label, _ in marks], split, width, height, shapes)


@dataclass(frozen=True)
class TagFile:
    """Entries of all photos, of a file or a folder of files.

    Attributes:
        rows: A photo may have several.
        classes: In the file's own order; None sorts them by name.
        notes: Skipped or repaired entries, one line each.
        partial: The folder may lack photos that the file names, as published files have more of
            them than people keep.
        complete: Photos that the file does not name, in folders of those that it names, show none
            of the classes.
        problems: One line each; they stop the run.
    """

    rows: list[Row]
    classes: list[str] | None = None
    notes: list[str] = field(default_factory=list)
    partial: bool = False
    complete: bool = False
    problems: list[str] = field(default_factory=list)


def count_notes(path: str, counts: dict[str, int]) -> list[str]:
    """Write one line for each thing that was skipped or repaired at all."""
    return [f"{path}: {what}: {count}" for what, count in counts.items() if count]
