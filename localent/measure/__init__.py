"""Measures of next-token distributions, from their full logits rows, and drawing from them: numpy only."""
