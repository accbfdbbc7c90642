"""Small experiments that show the point of a method: each is a file with a function `run(path)`."""
