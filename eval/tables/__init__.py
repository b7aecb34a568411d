"""One table for people, and what writes it as HTML, as Markdown and on a terminal."""
