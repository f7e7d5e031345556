"""Networks of metrics and losses, whose weights come from other projects."""
