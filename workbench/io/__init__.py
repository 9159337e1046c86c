"""How bytes arrive and leave: Qt core only, no widgets."""
