"""The runner of evaluations: protocols, generation, scoring, results."""
