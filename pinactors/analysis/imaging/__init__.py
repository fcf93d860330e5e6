"""Preparation of photographs: decoding within limits, orientation, scaling, quality measurement and geometry
helpers.

Input: the bytes of one photograph. Output: `PreparedView`. Nothing here reads the catalogue or another
photograph.
"""
