"""The pipeline: sessions and their actors, the packet log that readers follow, duplicates, records.

Comes in: an `Upload` whose photographs arrive one after another. Goes out: packets in a log that readers
follow. No HTTP and no pixels: components are known by their declaration (`declaration`) only.

Begin with `session`, the whole life of an upload; its tasks are in `actors`, the 90 seconds in `time_limits`.
`registry` has all sessions of the process and is the only way in.
"""
