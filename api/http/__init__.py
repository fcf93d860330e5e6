"""HTTP/1.1 and WebSocket connections: Hypercorn's protocols, hardened, with request bodies read as they
arrive."""
