"""What people judge and have judged: making items, learning from judgements, import and export."""
