"""Photographs made ready: decoded within limits, upright, scaled, their quality measured, and geometry
helpers.

Comes in: the bytes of one photograph. Goes out: `PreparedView`. No catalogue and no other photograph is
known here.
"""
