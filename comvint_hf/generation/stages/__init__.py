"""The stages of the papers' recipes, one file a paper."""
