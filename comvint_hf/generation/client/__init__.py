"""An OpenAI-compatible client for `LLM`: reply cache, rate limits, retries, budget and batches. It knows no recipe."""
