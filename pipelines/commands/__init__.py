"""The commands of `polyneuron`, grouped by what they do; the command line puts them together."""
