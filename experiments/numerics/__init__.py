"""Programs that measure which circumstances change the numbers that training computes, and by how much."""
