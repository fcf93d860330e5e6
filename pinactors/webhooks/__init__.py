"""Webhooks: sends events from the database to the servers that requested them.

Input: deliveries, as rows of the database. Output: signed requests (Standard Webhooks), to public addresses
unless the settings allow private ones. Nothing here depends on sessions, and no session waits for it.
"""
