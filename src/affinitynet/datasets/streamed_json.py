"""JSON files that are larger than memory."""

import json
from collections.abc import Iterator
from typing import Any

from kedro.io.core import get_filepath_str
from kedro_datasets.json import JSONDataset


class StreamedJSONDataset(JSONDataset):
    """A JSON file whose arrays may be given as iterators, which are written item by item.

    Example:
        >>> import tempfile
        >>> numbers = StreamedJSONDataset(filepath=tempfile.mkdtemp() + "/numbers.json")
        >>> numbers.save({"squares": (i * i for i in range(4)), "none": iter([])})
        >>> numbers.load()
        {'squares': [0, 1, 4, 9], 'none': []}
    """

    def save(self, data: Any) -> None:
        """Write data; an iterator becomes an array with one line per item."""
        path = get_filepath_str(self._get_save_path(), self._protocol)
        with self._fs.open(path, **self._fs_open_args_save) as file:
            for piece in _pieces(data):
                file.write(piece)
        self._invalidate_cache()


def _pieces(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        for number, (key, value) in enumerate(data.items()):
            yield f"{', ' if number else '{'}{json.dumps(key)}: "
            yield from _pieces(value)
        yield "}" if data else "{}"
    elif isinstance(data, Iterator):
        yield "["
        for number, item in enumerate(data):
            yield f"{',' if number else ''}\n{json.dumps(item)}"
        yield "]"
    else:
        yield json.dumps(data)
