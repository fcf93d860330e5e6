"""What goes wrong on purpose: faults of the server, hostile uploads, made-up input."""
