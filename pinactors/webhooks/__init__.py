"""Webhooks: events from the database reach the servers that want them.

In come deliveries, as rows; out go signed requests (Standard Webhooks), to public addresses only. Sessions
are not known here, and none waits for anything here.
"""
