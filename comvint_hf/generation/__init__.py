"""Scene -> Sample: prompts, the language models that answer them, and the recipes of the papers."""
