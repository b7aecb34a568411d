"""Sets, edits and reports as a repository of the Hugging Face Hub, with a card that says what they are and their checksums."""
