"""Several processes: starting, losing and stopping them."""
