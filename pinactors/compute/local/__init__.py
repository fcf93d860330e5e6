"""Worker processes of this machine: forked from a process that has imported what they need, and killed when
their job is cancelled.

Input: functions and their arguments, from the `Pool` of `compute.pool`. Output: their results, or
`WorkerDied`, `OutOfMemory`. `worker`, which runs in the worker process, must not import numpy or OpenCV.
"""
