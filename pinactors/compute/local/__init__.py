"""Worker processes of this machine: forked from one that imported what they need, killed when cancelled."""
