"""Somebody's function in a process of its own: a hang can be ended there, and a crash costs no run."""
