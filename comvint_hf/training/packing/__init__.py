"""Message trees: the rows of one image as one sequence."""
