"""Finds the outline of the pin in a photograph from its pixels.

Input: a decoded picture. Output: masks with a confidence, or the reason why there is none.
"""
