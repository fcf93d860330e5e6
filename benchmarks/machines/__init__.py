"""Benchmarks of several processes: Ray nodes, masters on one packet log, the proxy in front of them."""
