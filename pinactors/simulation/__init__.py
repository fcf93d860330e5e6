"""Cellular links, simulated: rates, delays and losses between a client and a server on this machine.

Used by the demonstration, the benchmarks and tests; nothing of the server imports it.
"""
