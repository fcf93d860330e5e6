"""The pipeline: sessions, their actors (`pipeline.actors`), the packet log that readers follow, admission,
records.

Comes in: an `Upload` whose photographs arrive one after another. Goes out: packets in a log that readers
follow. No HTTP and no pixels: components are known by their declaration only.

Begin with `session`, which is the whole life of an upload; `registry` is the only way in.
"""
