"""Worker processes of this machine: forked from a process that has imported what they need, and killed when
their job is cancelled."""
