"""Score models on the rows of a dataset and on benchmarks."""
