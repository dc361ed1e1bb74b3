"""What is certainly true of a scene: its things, where they lie, how they relate, what is absent."""
