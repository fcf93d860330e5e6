"""The tasks inside a session: components with their supervisors, the steps they share, packet assembly.

They tell each other things by messages on one channel (`messages`), whose reader is assembly.
"""
