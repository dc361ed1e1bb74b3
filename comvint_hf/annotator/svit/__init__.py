"""Answers to SVIT's four prompts."""
