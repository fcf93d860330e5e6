"""Reads the text stamped into a pin's back: detection, recognition, a grammar, pooling of several readings.

Input: a prepared back. Output: `StampReading`. The package `evidence` judges what the text means for
authenticity.
"""
