"""Data: procedural clips, captions, tokenizer, Grain sources and loader, degradations."""
