"""What a run shows while it goes on, and the files it leaves for people and scripts."""
