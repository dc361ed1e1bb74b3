"""Where the tasks of a piece of work run: processes here, a Ray cluster, Slurm, or Hugging Face Jobs, by way of datatrove.

This room knows a callable, how many tasks there are and a folder for logs; it knows nothing of what the callable does.
"""
