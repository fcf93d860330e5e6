"""Removal of old data: photographs without a reference, and photographs and analyses older than the settings
allow.

Works on the stores and the records. Its only output is the log.
"""
