"""Links: the simulated link compared with the kernel's, physical limits, uploads over links that are cut."""
