"""BGP, as MetalLB's end-to-end tests want it: cases 1 to 28."""
