"""Before the first step: what the data looks like to the model, and one step tried without learning from it."""
