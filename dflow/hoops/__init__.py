"""What exists for scripts written for HOOPS AI only."""
