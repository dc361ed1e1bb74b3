"""Where workers run, by way of datatrove: processes here, a Ray cluster, Slurm, or Hugging Face Jobs. No module here knows what they do."""
