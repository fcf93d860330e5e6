"""A Python worker process of the Express peer: it reads one JSON job per line and writes one JSON answer per
line.

`python -m benchmarks.peers.worker '{"data": …, "workers": 2}'`. A value in a job is null, an image's
`{"image", "size"}`, or the `{"path", "decided"}` of an earlier shared step.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec

from benchmarks.peers.work import Plan, Rows, warm_worker
from pinactors.compute import Handle
from pinactors.compute.job import call, call_and_keep
from pinactors.storage.stored_image import StoredImage

plan = Plan.given()
analysis = plan.analysis()
steps = {step.name: step for step in analysis.shared_steps}
components = {component.name: component for component in analysis.components}
rows = Rows(plan.folder)


def value(given: dict[str, Any] | None) -> Any:
    if given is None:
        return None
    if "image" in given:
        return StoredImage(given["image"], given["image"], given["size"])
    return Handle(**given)


def answer(job: dict[str, Any]) -> dict[str, Any]:
    if "record" in job:
        return {"id": rows.insert(job["record"].encode())}
    arguments = (analysis.context, *map(value, job["values"]))
    if job["name"] in steps:
        handle = call_and_keep(job["folder"], steps[job["name"]].function, arguments)
        return {"handle": handle and {"path": handle.path, "decided": handle.decided}}
    return {"packet": msgspec.to_builtins(call(components[job["name"]].full, arguments))}


def main() -> None:
    warm_worker(plan.null)
    graph = {
        "findings": {each.name: [each.needs, each.decided_by] for each in analysis.shared_steps},
        "components": {each.name: [each.needs, each.required] for each in analysis.components},
    }
    print(json.dumps(graph), flush=True)
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:  # noqa: BLE001 - the Express process decides what a failure means
            reply = {"error": repr(error)[:500]}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
