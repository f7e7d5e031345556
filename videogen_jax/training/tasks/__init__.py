"""The tasks: what differs between the parts of the model in training."""
