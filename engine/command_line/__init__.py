"""What `python -m engine` shows and obeys in a terminal. Nothing here imports torch."""
