"""The pipeline: sessions and their actors, the packet log that readers follow, duplicates, records.

Input: an `Upload` whose photographs arrive one after another. Output: packets in a log that readers follow.
No HTTP and no pixels: the pipeline uses components only through their declarations (`declaration`).

Begin with `session`, the whole life of an upload; its tasks are in `actors`, the 90 seconds in `time_limits`.
`registry` holds all sessions of the process and is the only entry point.
"""
