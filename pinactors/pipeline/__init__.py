"""Sessions: one nursery an upload, its component actors, packet assembly, the packet log, admission.

Comes in: an `Upload` whose photographs arrive one after another. Goes out: packets in a log that readers
follow. No HTTP and no pixels: components are known by their declaration only.
"""
