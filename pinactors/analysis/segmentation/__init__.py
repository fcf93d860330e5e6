"""Cuts the pin out of a photograph: along the outline of the registered catalogue picture if there is one,
else along an outline found in the pixels.

Input: a decoded picture and, if its pin was identified, the match. Output: `PreparedView`; masks with a
confidence, or the reason why there is none.
"""
