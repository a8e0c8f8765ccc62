"""This machine: its hardware; the layers that fit; the doctor's findings."""
