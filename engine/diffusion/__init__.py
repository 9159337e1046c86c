"""Diffusion: networks, images, schedules, samplers, and what images are worth."""
