"""What is true: plain Python and numpy, no Qt."""
