"""Tables of the weight names of Stable Diffusion, IFRNet and LPIPS, one per network."""
