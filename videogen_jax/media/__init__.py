"""What people look at and give: videos, pictures, contact sheets, reference images."""
