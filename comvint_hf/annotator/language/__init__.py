"""Programs in words: templates, the slots they take, and captions as sentences."""
