"""The outline of the pin in a photograph, from its pixels.

Comes in: a decoded picture. Goes out: masks with a confidence, or the reason why there is none.
"""
