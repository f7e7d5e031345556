"""What one call asks for: its options, checked, and the model's own values filled in."""
