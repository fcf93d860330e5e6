"""A store for photographs."""

from __future__ import annotations

import pytest

from pinactors.storage.images import ImageStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    folder = tmp_path_factory.mktemp("store")
    store = ImageStore(folder / "images")
    store.prepare()
    return store
