"""Asking a language model behind an OpenAI-compatible endpoint: cache, pace, money, batches. Knows no recipe."""
