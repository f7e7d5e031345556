"""The command line: one module per command, and the flags that commands share."""
