"""What a run will take: stages set against machines, advice, and the page that prints it."""
