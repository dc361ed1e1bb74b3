"""The answers to the prompts of the three recipes: each puts programs of one scene into words."""
