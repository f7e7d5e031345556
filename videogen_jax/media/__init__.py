"""Videos, pictures, contact sheets and reference images, and their files."""
