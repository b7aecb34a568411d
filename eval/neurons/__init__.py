"""What a store tells of single neurons: the lists of sets, and a page for each neuron."""
