"""Workers of a Ray cluster, behind the same interface. `cluster` and `worker` need Ray, which is an extra."""
