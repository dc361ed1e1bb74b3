"""Answers to ComVint's and the VLIT review's prompts."""
