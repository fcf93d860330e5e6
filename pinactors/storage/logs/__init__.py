"""Packet logs: they store the packets of running sessions, so that another process can continue a session.

`packet_logs` defines the interface. `files` stores logs in a folder of this machine, `rows` in a PostgreSQL
database that several masters share (its SQL is in `statements`, its connections are in `database`).
"""
