"""Finds the catalogue pin that a photograph shows: features, comparison of registered pictures, stamp keys.

Input: prepared views and the catalogue's features and pictures. Output: ranked candidates with their
geometry. No verdict on authenticity is made here.
"""
