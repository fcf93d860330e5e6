"""The tasks of a session: the intake, components with their supervisors, shared steps, packet assembly.

They send their results as messages (`messages`) on one channel, which packet assembly reads.
"""
