"""Push datasets, models and Spaces to the Hub."""
