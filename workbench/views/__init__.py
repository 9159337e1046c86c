"""What is drawn: reads state, emits what the user wants."""
