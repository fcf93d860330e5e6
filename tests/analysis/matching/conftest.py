"""A catalogue of drawn pins."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinactors.catalog.importing.importer import import_catalog
from tests.catalog import folders

SEEDS = range(7)


@pytest.fixture(scope="session")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven drawn pins, of which the first has a back and sales."""
    folder = tmp_path_factory.mktemp("pins")
    target = folder / "catalog"
    import_catalog(folders.write_folder(folder / "one", [0], sales=[folders.sale(0)]), target)
    import_catalog(folders.write_folder(folder / "more", SEEDS[1:], back=False), target)
    return target
