"""Readers of a session's packets, and their framings: NDJSON, SSE, long-poll, WebSocket, one JSON object."""
