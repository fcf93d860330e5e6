"""Links: the simulated one against the kernel's, physical limits, uploads over links that are cut."""
