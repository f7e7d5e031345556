"""Converting the weights of other projects to model directories, and back."""
