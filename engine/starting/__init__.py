"""From a preset file to a running engine: resolve, check, start. Nothing here imports torch."""
