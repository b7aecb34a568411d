"""Methods that find the language-specific neurons in activation statistics, behind one interface."""
