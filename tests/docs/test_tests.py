"""Each module has its test where docs/contributing.md says that it is, but for the modules listed here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

WITHOUT_TEST = {
    "drawings, which only the eye can judge": (
        "pinactors/catalog/demo/creatures.py",
        "pinactors/catalog/demo/scenes.py",
        "pinactors/catalog/demo/things.py",
    ),
    "tables, types and objects that others use; their users' tests test them": (
        "api/proxy/metrics.py",
        "api/proxy/relay/refusals.py",
        "api/proxy/relay/services.py",
        "api/proxy/state.py",
        "api/services.py",
        "api/streams/pieces.py",
        "api/uploads/resumable/refusals.py",
        "pinactors/catalog/demo/designs.py",
        "pinactors/catalog/models.py",
        "pinactors/compute/workers.py",
        "pinactors/records/models.py",
        "pinactors/storage/logs/packet_logs.py",
    ),
    "parts of the interface's description, which tests/api/openapi/test_document.py tests as a whole": (
        "api/openapi/fields.py",
        "api/openapi/operations.py",
        "api/openapi/parts.py",
        "api/openapi/reading.py",
        "api/openapi/resuming.py",
        "api/openapi/uploads.py",
    ),
    "tested through a running server: its routes, and the requests that it sends": (
        "api/admin/import_routes.py",
        "api/app.py",
        "pinactors/webhooks/sending.py",
    ),
    "tested through worker processes, by the files of the engines and of their queue": (
        "pinactors/compute/local/fork_server.py",
        "pinactors/compute/local/worker.py",
        "pinactors/compute/process_limits.py",
        "pinactors/compute/ray/worker.py",
    ),
    "tested by the files of other commands and programs that use them": (
        "pinactors/cli/calibrate.py",
        "pinactors/cli/components.py",
        "pinactors/cli/mcp/command.py",
        "pinactors/cli/mcp/photographs.py",
        "pinactors/evaluation/answers.py",
        "pinactors/evaluation/report.py",
    ),
    "commands that only write what a function returns that has tests": (
        "pinactors/cli/calibrate_cutouts.py",
        "pinactors/cli/calibrate_search.py",
    ),
}
"""Modules with functions but without a file of tests of their own, by the reason."""


def modules() -> Iterator[tuple[str, Path]]:
    """Each module that has a function, and the path of its test."""
    for folder, above in ((ROOT / "pinactors", ROOT / "pinactors"), (ROOT / "api", ROOT)):
        for path in sorted(folder.rglob("*.py")):
            place = path.relative_to(above)
            linked = folder.name == "pinactors" and place.parts[0] == "api"
            if linked or path.name in ("__init__.py", "__main__.py"):
                continue
            nodes = ast.walk(ast.parse(path.read_text("utf-8")))
            if any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in nodes):
                yield path.relative_to(ROOT).as_posix(), ROOT / "tests" / place.parent / f"test_{place.name}"


def test_the_test_of_a_module_is_at_the_same_path() -> None:
    listed = [name for names in WITHOUT_TEST.values() for name in names]
    assert sorted(name for name, test in modules() if not test.is_file()) == sorted(listed)
