"""How good a model is: pure measures, and what gathers their material from a model."""
