"""Sample -> dataset: rows and shards, the card, the Hub, measures and selection."""
