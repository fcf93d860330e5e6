"""Several processes: nodes that compute, masters on one packet log, the proxy in front of them."""
