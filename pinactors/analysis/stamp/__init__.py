"""Reads the text stamped into a pin's back: detection, recognition, a grammar, pooling of several readings.

Input: a prepared back. Output: `StampReading`. The package `evidence` judges what the text means for
authenticity.
"""

import os

# ONNX Runtime sends usage data to its maker unless this is set when the library is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
