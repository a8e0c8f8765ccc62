"""Measures of next-token distributions from full logits rows, and sampling from them; numpy only."""
