"""What the paper's recipe costs: chip-days, core-hours and bytes (docs/cost.md)."""
