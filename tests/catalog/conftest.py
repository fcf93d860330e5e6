"""A catalogue of drawn pins with sales."""

from __future__ import annotations

import pytest

from pinactors.catalog.importing.importer import import_catalog
from pinactors.catalog.reader import Catalog
from tests.catalog import folders


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("pins")
    rows = [folders.sale(0), folders.sale(0, sold_at="2025-07-01", currency="EUR"), folders.sale(2)]
    changes = {1: {"brand": "", "year": "", "name": 'Quote " and, comma', "factory_code": ""}}
    source = folders.write_folder(folder / "in", range(3), back=False, sales=rows, changes=changes)
    (source / "DEMONSTRATION").touch()
    import_catalog(source, folder / "catalog")
    return Catalog.open(folder / "catalog")
