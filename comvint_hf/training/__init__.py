"""Dataset -> model: which tokens carry loss, how samples share an image, what is quantised and trained."""
