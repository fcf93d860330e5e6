"""Read access to a catalogue. Opening is cheap, reads are safe during an import, and `Catalog.open` returns
the new state after an import."""

from __future__ import annotations

import datetime as dt
import functools
import operator
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import peewee

from pinactors.analysis.imaging.geometry import as_image
from pinactors.analysis.matching import keypoints
from pinactors.analysis.matching.inverted_index import InvertedIndex
from pinactors.analysis.matching.keypoints import Features
from pinactors.analysis.matching.reranking import CandidateFront
from pinactors.analysis.model import CatalogPin, CatalogSale, Image, Reference
from pinactors.catalog import index, models
from pinactors.catalog.importing.preparing import PICTURE_FOLDER
from pinactors.catalog.pictures import GivenMask
from pinactors.protocol import View

NAMING_WORDS = 8
"""At most this many words of a text are searched in the catalogue."""

KEPT_OPEN = 2
"""Catalogues that a process keeps open: the one in use, and the one before it, which sessions may still read.
Files of an index that are mapped use disk space even after they were removed."""

_open: dict[Path, tuple[Any, Catalog]] = {}
"""The catalogues that were opened last, the latest at the end."""
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class CatalogStats:
    """The figures that `catalog stats` shows. `years` and `brands` count pins, `currencies` counts sales,
    `bytes` is the size on disk."""

    version: str
    demonstration: bool
    pins: int
    backs: int
    sales: int
    sales_from: dt.date | None
    sales_to: dt.date | None
    currencies: dict[str, int]
    brands: dict[str, int]
    years: dict[int, int]
    bytes: int


def is_demonstration(folder: Path) -> bool:
    """Whether the catalogue in `folder` is the demonstration catalogue; False if it is missing or damaged."""
    try:
        return Catalog.open(folder).demonstration
    except (OSError, ValueError):
        return False


class Catalog:
    """One state of a catalogue. Pins and sales are read from the current database, searches use the index
    that was in use at `open`; a pin that is only in one of the two is not found. `outdated` is True if
    another version of the program computed the index's features: such an index is not used."""

    def __init__(self, folder: Path, state: index.IndexState | None) -> None:
        self.folder = folder
        self.version = state.version if state else ""
        self.size = state.pins if state else 0
        self.demonstration = state.demonstration if state else False
        self._database = models.database_of(folder)
        self.index: InvertedIndex | None = None
        self.outdated = state is not None and state.features != keypoints.VERSION
        usable = state is not None and state.pins > 0 and not self.outdated
        if state is not None and usable:
            self.index = index.open_index(folder / state.index)

    def __repr__(self) -> str:
        return f"<Catalog {self.folder} {self.version or 'empty'} of {self.size} pins>"

    @classmethod
    def open(cls, folder: Path | str) -> Catalog:
        """Opens the catalogue in `folder` as last imported; a missing or empty folder is an empty catalogue.

        Each process caches the last `KEPT_OPEN` results, until an import ends. Raises `ValueError` for a
        damaged catalogue.
        """
        path = Path(folder).absolute()
        with _lock:
            while True:
                now = index.current_identity(path)
                cached = _open.pop(path, None)
                if cached is not None and cached[0] == now:
                    _open[path] = cached
                    return cached[1]
                try:
                    catalog = cls(path, index.read_state(path))
                except (OSError, RuntimeError):
                    if index.current_identity(path) == now:
                        raise
                    continue  # an import ended in the meantime and removed the index's files
                _open[path] = now, catalog
                for oldest in list(_open)[:-KEPT_OPEN]:
                    del _open[oldest]
                return catalog

    @property
    def connected(self) -> Any:
        """A context manager that keeps one connection for all reads inside it; it opens none for an empty
        catalogue, which may have no database file."""
        return models.connected(self._database) if self.size else nullcontext(self._database)

    def pin(self, pin_id: str) -> CatalogPin | None:
        return next(iter(self._pins(models.Pin.pin_id == pin_id)), None)

    def pins(self, search: str = "", limit: int | None = None, offset: int = 0) -> list[CatalogPin]:
        """Pins whose id, name, characters, series or code contain `search`, in the order of their ids."""
        where = None
        if search:
            pin = models.Pin
            columns = (pin.pin_id, pin.name, pin.characters, pin.series, pin.factory_code)
            where = functools.reduce(operator.or_, [column.contains(search) for column in columns])
        return list(self._pins(where, limit, offset))

    def numbered(self, numbers: Iterable[int]) -> dict[int, CatalogPin]:
        """The pins with these numbers (keys in the search index), by number."""
        wanted = list(numbers)
        if not wanted:  # an empty catalogue may have no database file
            return {}
        query = models.Pin.select().where(models.Pin.number.in_(wanted))
        with self.connected:
            return {row.number: _catalog_pin(row) for row in query.execute(self._database)}

    def by_code(self, factory_key: str) -> list[int]:
        """Numbers of the pins with this factory code, in the form that the function `factory_key` returns."""
        query = models.Pin.select(models.Pin.number).where(models.Pin.factory_key == factory_key).tuples()
        with self.connected:
            return [int(number) for (number,) in query.execute(self._database)]

    def named(self, texts: Sequence[str], limit: int) -> list[int]:
        """Numbers of at most `limit` pins that match one of `texts`, those that match most texts first. A
        text matches a pin if each of its words is in the pin's name, characters, series or code."""
        pin = models.Pin
        columns = (pin.name, pin.characters, pin.series, pin.factory_code)
        meant: Counter[int] = Counter()
        with self.connected:
            for words in filter(None, ([word for word in text.split() if len(word) > 1] for text in texts)):
                holds = [
                    functools.reduce(operator.or_, [column.contains(word) for column in columns])
                    for word in words[:NAMING_WORDS]
                ]
                query = pin.select(pin.number).where(*holds).order_by(pin.number).tuples()
                meant.update(int(number) for (number,) in query.execute(self._database))
        return [number for number, _ in meant.most_common(limit)]

    def number(self, pin_id: str) -> int | None:
        with self.connected:
            return models.number_of(self._database, pin_id)

    def _pins(self, where: Any = None, limit: int | None = None, offset: int = 0) -> Iterator[CatalogPin]:
        if not self.size:
            return
        query = models.Pin.select().order_by(models.Pin.pin_id)
        if where is not None:
            query = query.where(where)
        if limit is not None or offset:
            query = query.limit(limit if limit is not None else -1).offset(offset)
        with self.connected:
            rows = list(query.execute(self._database))
        yield from map(_catalog_pin, rows)

    def sales(self, pin_id: str) -> tuple[CatalogSale, ...]:
        """The pin's sales, newest first."""
        if not self.size:
            return ()
        sale = models.Sale
        query = (
            sale.select()
            .join(models.Pin)
            .where(models.Pin.pin_id == pin_id)
            .order_by(sale.sold_at.desc(), sale.number)
        )
        with self.connected:
            return tuple(
                CatalogSale(row.sold_at, row.price, row.currency, row.condition, row.source)
                for row in query.execute(self._database)
            )

    def rates(self) -> dict[str, float]:
        """US dollars per unit of each currency; empty if no rates were imported."""
        if not self.size or self.outdated:
            return {}
        query = models.Rate.select(models.Rate.currency, models.Rate.usd_per_unit).tuples()
        with self.connected:
            return {str(currency): float(rate) for currency, rate in query.execute(self._database)}

    def reference(self, pin_id: str, view: View) -> Reference | None:
        """The prepared catalogue picture of a view; None if the catalogue has none."""
        if not self.size:
            return None
        picture = models.Picture
        query = (
            picture.select(picture.crop, picture.mask, picture.outlined, picture.to_picture)
            .join(models.Pin)
            .where(models.Pin.pin_id == pin_id, picture.view == str(view))
            .tuples()
        )
        with self.connected:
            row = next(iter(query.execute(self._database)), None)
        return None if row is None else self._reference(view, *row)

    def _reference(
        self, view: View, file: str, mask: bytes, outlined: bool, to_picture: bytes | None
    ) -> Reference | None:
        try:
            data = (self.folder / PICTURE_FOLDER / file).read_bytes()
        except FileNotFoundError:  # an import has replaced the picture since the row was read
            return None
        crop, levels = _decode(data, cv2.IMREAD_COLOR), _decode(mask, cv2.IMREAD_GRAYSCALE)
        ground = as_image(cv2.inRange(levels, models.GROUND_LEVEL, models.GROUND_LEVEL))
        return Reference(
            view,
            as_image(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB)),
            as_image(cv2.bitwise_or(levels, ground)),
            bool(outlined),
            None if to_picture is None else np.frombuffer(to_picture, "<f8").reshape(3, 3),
            ground if cv2.countNonZero(ground) else None,
        )

    def picture(self, pin_id: str, view: View) -> Path | None:
        """The file of the catalogue picture, whose longest side is bounded; None if there is none."""
        if not self.size:
            return None
        picture = models.Picture
        query = picture.select(picture.file).join(models.Pin)
        query = query.where(models.Pin.pin_id == pin_id, picture.view == str(view))
        with self.connected:
            name = query.scalar(self._database)
        return self.folder / PICTURE_FOLDER / name if name is not None else None

    def given(self, pin_id: str) -> GivenMask | None:
        """The pin's place in its front picture as the import folder gave it; None if it gave none."""
        if not self.size:
            return None
        picture = models.Picture
        query = picture.select(picture.given, picture.outlined).join(models.Pin).tuples()
        query = query.where(models.Pin.pin_id == pin_id, picture.view == str(View.FRONT))
        with self.connected as database:
            if models.fact(database, "schema") == "1":  # has no column for it
                return None
            row = next(iter(query.execute(database)), None)
        if row is None or row[0] is None:
            return None
        return GivenMask(_decode(row[0], cv2.IMREAD_GRAYSCALE), bool(row[1]))

    def candidates(self, numbers: Collection[int]) -> dict[int, CandidateFront]:
        """The fronts of these pins as candidates for verification, by pin number. A picture is read from disk
        when it is first used; pins that are only in the database or only in the index are left out."""
        if self.index is None:
            return {}
        picture, searched = models.Picture, self.index
        prepared = (picture.crop, picture.mask, picture.outlined, picture.to_picture)
        query = picture.select(picture.pin, picture.features, *prepared)
        query = query.where(picture.pin.in_(list(numbers)), picture.view == str(View.FRONT)).tuples()
        with self.connected:
            rows = {row[0]: row[1:] for row in query.execute(self._database)}
        found = {}
        for number in numbers:
            if number not in rows or number + 1 >= len(searched.offsets):
                continue
            stored, *kept = rows[number]
            features, weights = Features.decode(stored or b""), searched.weights(number)
            if len(features) == len(weights):  # else an import has changed the pin in the meantime
                load = functools.partial(self._reference, View.FRONT, *kept)
                found[number] = CandidateFront(number, features, weights, bool(kept[2]), load)
        return found

    def without_back(self, limit: int) -> list[str]:
        """Ids of at most `limit` pins without a back picture, in order."""
        if not self.size:
            return []
        backs = models.Picture.select(models.Picture.pin).where(models.Picture.view == str(View.BACK))
        query = models.Pin.select(models.Pin.pin_id).where(models.Pin.number.not_in(backs))
        query = query.order_by(models.Pin.pin_id).limit(limit).tuples()
        with self.connected:
            return [str(pin_id) for (pin_id,) in query.execute(self._database)]

    def stats(self) -> CatalogStats:
        """Counts over the whole catalogue."""
        if not self.size:
            return CatalogStats(self.version, self.demonstration, 0, 0, 0, None, None, {}, {}, {}, 0)
        pin, sale, picture, count = models.Pin, models.Sale, models.Picture, peewee.fn.COUNT
        with self.connected as database:

            def groups(column: Any) -> dict[Any, int]:
                query = column.model.select(column, count(peewee.SQL("*"))).where(column.is_null(False))
                return dict(query.group_by(column).order_by(column).tuples().execute(database))

            dates = sale.select(peewee.fn.MIN(sale.sold_at), peewee.fn.MAX(sale.sold_at)).tuples()
            first, last = (_date(value) for value in next(iter(dates.execute(database))))
            return CatalogStats(
                self.version,
                self.demonstration,
                pin.select().count(database),
                picture.select().where(picture.view == str(View.BACK)).count(database),
                sale.select().count(database),
                first,
                last,
                groups(sale.currency),
                groups(pin.brand),
                groups(pin.year),
                sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file()),
            )


def _catalog_pin(row: models.Pin) -> CatalogPin:
    return CatalogPin(
        row.pin_id,
        row.name,
        tuple(part for part in row.characters.split(";") if part),
        row.series,
        row.year,
        row.edition_size,
        row.brand,
        row.factory_code,
    )


def _decode(data: bytes, flags: int) -> Image:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if picture is None:
        raise ValueError("a picture of the catalogue is damaged: import the catalogue again")
    return as_image(picture)


def _date(value: Any) -> dt.date | None:
    return dt.date.fromisoformat(value) if isinstance(value, str) else value
