"""What a model's answers are worth: rates, intervals, thresholds, comparisons, and what loss curves say."""
