"""The command line: one module for each command, and the flags that commands share."""
