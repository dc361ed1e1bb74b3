"""The recipes of the papers, one folder each: stages, prompts and settings."""
