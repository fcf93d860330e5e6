"""Photographs and colours as arrays: decoding within limits, orientation, scaling, quality and geometry.

Input: the bytes of one photograph. Output: `DecodedPhotograph`, and measurements of pictures. Nothing here
knows the catalogue.
"""
