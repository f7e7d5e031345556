"""Tables of the weight names of Stable Diffusion and IFRNet, one per network."""
