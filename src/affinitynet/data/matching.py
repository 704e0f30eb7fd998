"""Finds the photo that a file's name means: the same rules for tags and masks."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from affinitynet.data.files import is_photo
from affinitynet.data.names import compose

UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
"""Prefix that Label Studio gives the names of uploaded files."""


class PhotoFinder:
    """Finds photos by the names that files have for them; `names` are the ids by normal form."""

    def __init__(self, photos: Collection[str]) -> None:
        self.names = {compose(image_id): image_id for image_id in photos if is_utf8(image_id)}
        self._by_case: dict[str, list[str]] = defaultdict(list)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for name in self.names:
            self._by_case[name.casefold()].append(name)
            self._by_name[PurePosixPath(name).name].append(name)
            self._by_stem[_without_zeros(_stem(PurePosixPath(name)))].append(name)

    def find(self, file: str) -> str | None:
        """Return the id of the photo that a name means; None if there is none, or more than one.

        As it is written; with slashes and NFC; without suffix; in another case; with more folders,
        or fewer, before its name (where it means one photo only); as a URL; as Label Studio names
        uploads; as a number that lost its leading zeros in a spreadsheet.
        """
        if (exact := compose(file)) in self.names:  # as folders' names may be what is mended below
            return self.names[exact]
        for path in _spellings(file):
            for name in map(compose, (path.as_posix(), _stem(path))):
                if found := self._find_name(name):
                    return self.names[found]
        if len(same := self._by_stem.get(_without_zeros(exact), [])) == 1:
            return self.names[same[0]]
        return None

    def list_possible(self, file: str) -> list[str]:
        """List the photos that a name may mean, where it does not mean one of them only."""
        path = next(_spellings(file))
        names = {compose(path.name), compose(PurePosixPath(_stem(path)).name)}
        tables = (self._by_name, self._by_stem)
        found = {each for name in names for table in tables for each in table.get(name, [])}
        return sorted(self.names[each] for each in found)

    def _find_name(self, name: str) -> str | None:
        if name in self.names:
            return name
        if len(same := self._by_case.get(name.casefold(), [])) == 1:
            return same[0]
        parts = PurePosixPath(name).parts
        for start in range(1, len(parts)):
            if (tail := "/".join(parts[start:])) in self.names:
                return tail
        below = [
            each
            for each in self._by_name.get(parts[-1] if parts else "", [])
            if each.endswith(f"/{name}")
        ]
        return below[0] if len(below) == 1 else None


def is_utf8(name: str) -> bool:
    """Other bytes in a file's name are lone surrogates in Python, which no table can hold."""
    return name.encode(errors="ignore").decode() == name


def same_file(first: str, second: str) -> bool:
    """Whether two names are of one file: one may lack the suffix, and case does not count."""
    paths = [PurePosixPath(compose(each.strip().replace("\\", "/"))) for each in (first, second)]
    suffixes = {path.suffix.lower() for path in paths if is_photo(path.name)}
    stems = {_stem(path).casefold() for path in paths}
    return len(suffixes) < 2 and len(stems) == 1


def _spellings(file: str) -> Iterator[PurePosixPath]:
    path = PurePosixPath(file.strip().replace("\\", "/"))
    yield path
    if "://" in file or "%" in file or "?" in file:
        url = urlsplit(file.strip())
        stored = parse_qs(url.query).get("d")  # Label Studio's local storage
        path = PurePosixPath(unquote(stored[0] if stored else url.path).lstrip("/"))
        yield path
    if UPLOADED.match(path.name):
        yield path.with_name(UPLOADED.sub("", path.name, count=1))


def _stem(path: PurePosixPath) -> str:
    return (path.with_suffix("") if is_photo(path.name) else path).as_posix()


def _without_zeros(stem: str) -> str:
    return (stem.lstrip("0") or "0") if stem.isdecimal() else stem
