"""Models that answer: chats with local and remote models, and the demo page."""
