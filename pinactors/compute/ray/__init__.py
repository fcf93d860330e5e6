"""Workers on a Ray cluster. The modules `cluster` and `worker` need Ray, which is an extra.

Input: functions and their arguments, from the `Pool` of `compute.pool`. Output: their results, or
`WorkerDied`, `OutOfMemory`. Only `engines` imports them, and only if the settings name Ray.
"""
