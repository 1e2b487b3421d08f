"""The study of what to do about few interests: its parts."""
