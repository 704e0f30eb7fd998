"""The try-out: a page on this machine that shows what the trained networks make of a photo."""
