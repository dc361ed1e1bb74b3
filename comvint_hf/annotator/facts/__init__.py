"""What is certainly true of a scene: its objects, where they lie, how they relate, what is absent."""
