"""The balance of closed questions: what a corpus's answers are is counted once, and wrong answers are drawn to match."""
