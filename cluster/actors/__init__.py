"""Ray actors: sessions, room for them, groups of them, and what happens when one is lost."""
