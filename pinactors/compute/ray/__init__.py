"""Workers on a Ray cluster. The modules `cluster` and `worker` need Ray, which is an extra."""
