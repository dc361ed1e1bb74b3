"""Chains of reasoning as small programs: written, evaluated on the facts, compared."""
