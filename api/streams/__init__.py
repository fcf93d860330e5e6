"""Readers of a session's packets, and their framings: NDJSON, SSE, long-poll, WebSocket, one JSON object.

Input: a packet log, a place in it and the request that asks for it; `websocket` also receives photographs.
Output: bodies that follow the log until it is closed. Readers never change a packet or delay a session.
"""
