"""Packet logs: what keeps the packets of sessions under way, so that another process can go on.

`packet_logs` says what a log is; `files` keeps them in a folder of this machine, `rows` in a PostgreSQL that
several masters share (`statements` are its SQL, `database` its connections).
"""
