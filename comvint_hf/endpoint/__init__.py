"""What building, chat and evaluation share at an OpenAI-compatible endpoint: address, bounds, errors, messages, negotiation."""
